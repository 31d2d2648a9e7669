//! Who is measured, with which works, in which arrangements. A new peer or work is a line here.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::plan::{Placement, Runtime, Session, Step, Work};
use anyhow::{Result, bail};

use Placement::{Apart, Free};
use Runtime::{Blocking, CurrentThread, MultiThread, Python};
use Work::{Burn, Held, Idle, Pingpong, W1, W2, W3};

/// One line of the catalog.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The Python environment that it needs; xtask knows what to install into it.
    pub(crate) environment: &'static str,
    pub(crate) client: Client,
    pub(crate) works: &'static [Work],
    pub(crate) runtimes: &'static [Runtime],
}

/// How a peer is called.
#[derive(Clone, Copy)]
pub(crate) enum Client {
    /// No Python, no protocol.
    Floor { spin: bool },
    /// Our pool.
    Pool(Pooled),
    /// tonic.
    Grpc,
    /// hyper, with a connection for each caller.
    Http(HttpServer),
    /// A Python program that is client and measures itself.
    Script(&'static str),
    /// The Rust module in a Python process.
    InProcess,
}

/// Which worker our pool runs, and how both wait.
#[derive(Clone, Copy)]
pub(crate) struct Pooled {
    /// For `PYPROC_WORKER_CORE`.
    pub(crate) core: Option<&'static str>,
    /// Of both sides.
    pub(crate) spin: Duration,
    /// How W3's array travels.
    pub(crate) array: Array,
}

#[derive(Clone, Copy)]
pub(crate) enum Array {
    /// As a string in JSON: all that version 1 of the wire can do.
    Base64,
    /// As it is.
    Bytes,
}

#[derive(Clone, Copy)]
pub(crate) enum HttpServer {
    Uvicorn,
    /// Serves TCP only.
    Mosec,
}

const EVERY: &[Work] = &[W1, W2, W3, Burn];
const OURS: &[Work] = &[W1, W2, W3, Burn, Idle, Held];
const IN_TOKIO: &[Runtime] = &[CurrentThread];
const IN_BOTH: &[Runtime] = &[CurrentThread, MultiThread];

#[rustfmt::skip]
const PEERS: &[Peer] = &[
    Peer { name: "floor-uds-sleep", environment: "", client: Client::Floor { spin: false }, works: &[Pingpong], runtimes: &[Blocking] },
    Peer { name: "floor-uds-spin", environment: "", client: Client::Floor { spin: true }, works: &[Pingpong], runtimes: &[Blocking] },
    Peer { name: "pyo3-dict", environment: "ours", client: Client::InProcess, works: &[W1, W3], runtimes: &[Blocking] },
    Peer { name: "pyo3-pythonize", environment: "ours", client: Client::InProcess, works: &[W1, W2], runtimes: &[Blocking] },
    Peer { name: "pyo3-spawn-blocking", environment: "ours", client: Client::InProcess, works: &[W1], runtimes: IN_TOKIO },
    Peer { name: "published-0.1.0", environment: "published-0.1.0", client: Client::Pool(PUBLISHED), works: EVERY, runtimes: IN_TOKIO },
    Peer { name: "pyproc-pure", environment: "ours", client: Client::Pool(PURE), works: OURS, runtimes: IN_BOTH },
    Peer { name: "pyproc-uds", environment: "ours", client: Client::Pool(NATIVE), works: OURS, runtimes: IN_BOTH },
    Peer { name: "pyproc-uds-spin", environment: "ours", client: Client::Pool(SPINNING), works: OURS, runtimes: IN_BOTH },
    Peer { name: "grpc-uds", environment: "grpc", client: Client::Grpc, works: EVERY, runtimes: IN_TOKIO },
    Peer { name: "uvicorn-uds", environment: "uvicorn", client: Client::Http(HttpServer::Uvicorn), works: EVERY, runtimes: IN_TOKIO },
    Peer { name: "mosec", environment: "mosec", client: Client::Http(HttpServer::Mosec), works: EVERY, runtimes: IN_TOKIO },
    Peer { name: "multiprocessing", environment: "ours", client: Client::Script("multiprocessing_client.py"), works: EVERY, runtimes: &[Python] },
    Peer { name: "pyzmq", environment: "pyzmq", client: Client::Script("pyzmq_client.py"), works: EVERY, runtimes: &[Python] },
];

const PUBLISHED: Pooled = Pooled {
    core: None,
    spin: Duration::ZERO,
    array: Array::Base64,
};
const PURE: Pooled = Pooled {
    core: Some("python"),
    array: Array::Bytes,
    ..PUBLISHED
};
const NATIVE: Pooled = Pooled {
    core: Some("native"),
    ..PURE
};
const SPINNING: Pooled = Pooled {
    spin: Duration::from_micros(50),
    ..NATIVE
};

/// In this order within a round.
const WORKS: [Work; 7] = [Pingpong, W1, W2, W3, Burn, Idle, Held];

/// Which part of the catalog to run; all of it by default.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only these peers.
    #[arg(long = "peer", value_name = "NAME", num_args = 1..)]
    peers: Vec<String>,
    /// Only these works.
    #[arg(long = "work", value_name = "NAME", num_args = 1..)]
    works: Vec<Work>,
}

impl Selection {
    fn has_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
    }

    fn has_work(&self, work: Work) -> bool {
        self.works.is_empty() || self.works.contains(&work)
    }

    /// The peers that have any of the works.
    pub(crate) fn peers(&self) -> Result<Vec<&'static Peer>> {
        if let Some(unknown) = self.peers.iter().find(|name| peer(name).is_none()) {
            let known: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
            bail!("no peer `{unknown}`; there are: {}", known.join(", "));
        }
        let does_any = |peer: &&Peer| peer.works.iter().any(|work| self.has_work(*work));
        let selected = PEERS.iter().filter(|peer| self.has_peer(peer.name));
        Ok(selected.filter(does_any).collect())
    }
}

pub(crate) fn peer(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// What the selected peers need, each once. Ours is there always: calibration and the
/// bare interpreter come from it.
pub(crate) fn environments(selection: &Selection) -> Result<Vec<&'static str>> {
    let mut environments = vec!["ours"];
    for peer in selection.peers()? {
        if !peer.environment.is_empty() && !environments.contains(&peer.environment) {
            environments.push(peer.environment);
        }
    }
    Ok(environments)
}

/// What all sessions of a run have in common.
pub(crate) struct Setup {
    pub(crate) pythons: BTreeMap<String, PathBuf>,
    pub(crate) burn_rounds: u64,
    /// Of a step; some take a part of it.
    pub(crate) time: Duration,
}

/// The sessions of one round, but for peers whose environment is missing.
pub(crate) fn sessions(selection: &Selection, setup: &Setup) -> Result<Vec<Session>> {
    let peers = selection.peers()?;
    let mut sessions = Vec::new();
    for work in WORKS.into_iter().filter(|work| selection.has_work(*work)) {
        for peer in peers.iter().filter(|peer| peer.works.contains(&work)) {
            let python = match setup.pythons.get(peer.environment) {
                Some(python) => python.clone(),
                None if peer.environment.is_empty() => PathBuf::new(),
                None => continue,
            };
            for runtime in runtimes(peer, work) {
                for (workers, placement) in arrangements(peer, work) {
                    sessions.push(Session {
                        peer: peer.name.into(),
                        work,
                        workers,
                        runtime: *runtime,
                        placement,
                        python: python.clone(),
                        burn_rounds: setup.burn_rounds,
                        steps: steps(peer, work, workers, placement, setup.time.as_secs_f64()),
                    });
                }
            }
        }
    }
    Ok(sessions)
}

/// What waiting costs does not depend on the callers, of which there are none.
fn runtimes(peer: &Peer, work: Work) -> &'static [Runtime] {
    match work {
        Idle | Held => &peer.runtimes[..1],
        _ => peer.runtimes,
    }
}

/// Numbers of workers, and where they run. Pinned where there is one worker to pin; our own peers
/// and the floors also as the system places them.
fn arrangements(peer: &Peer, work: Work) -> Vec<(usize, Placement)> {
    match (peer.client, work) {
        (Client::InProcess, _) => vec![(0, Free)],
        (Client::Floor { .. }, _) => vec![(1, Apart), (1, Free)],
        (Client::Pool(_), W1) => vec![(1, Apart), (1, Free), (2, Free), (4, Free)],
        (_, W1) => vec![(1, Apart), (2, Free), (4, Free)],
        (_, Burn) => vec![(1, Free), (2, Free), (4, Free)],
        (_, Idle) => vec![(1, Free), (4, Free)],
        _ => vec![(1, Apart)],
    }
}

fn steps(peer: &Peer, work: Work, workers: usize, placement: Placement, time: f64) -> Vec<Step> {
    let closed = |in_flight, part: f64| Step::ClosedLoop {
        in_flight,
        seconds: time * part,
    };
    let fixed = |per_second| Step::FixedRate {
        per_second,
        seconds: time,
    };
    match (peer.client, work) {
        (Client::Floor { .. }, _) => vec![closed(1, 1.0), fixed(1000)],
        (Client::InProcess, W1) if peer.runtimes == IN_TOKIO => {
            vec![closed(1, 1.0), closed(64, 0.5)]
        }
        (Client::InProcess, _) => vec![closed(1, 1.0)],
        (_, W1) if workers == 1 && placement == Apart => {
            let mut steps = vec![closed(1, 1.0)];
            steps.extend([2, 4, 8, 16, 64, 256].map(|in_flight| closed(in_flight, 0.4)));
            steps.push(fixed(1000));
            steps
        }
        (_, W1) if workers == 1 => vec![closed(1, 0.5), closed(64, 0.4)],
        (_, W1) => [8, 64, 256].map(|in_flight| closed(in_flight, 0.4)).into(),
        (_, Burn) => vec![closed(16, 0.8)],
        (_, Idle) => vec![Step::Idle { seconds: time }],
        (_, Held) => vec![Step::Held { calls: 0 }, Step::Held { calls: 4096 }],
        _ => vec![closed(1, 1.0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(peers: &[&str], works: &[Work]) -> Selection {
        Selection {
            peers: peers.iter().map(|&name| name.into()).collect(),
            works: works.into(),
        }
    }

    fn setup(environments: &[&str]) -> Setup {
        let python = |name: &&str| (name.to_string(), PathBuf::from("python"));
        Setup {
            pythons: environments.iter().map(python).collect(),
            burn_rounds: 1,
            time: Duration::from_secs(1),
        }
    }

    #[test]
    fn names_are_unique() {
        for peer in PEERS {
            let same = PEERS.iter().filter(|other| other.name == peer.name);
            assert_eq!(same.count(), 1, "{}", peer.name);
        }
    }

    #[test]
    fn an_unknown_peer_is_answered_with_the_known_ones() {
        let error = select(&["nobody"], &[]).peers().err().unwrap().to_string();
        assert!(
            error.contains("nobody") && error.contains("uvicorn-uds"),
            "{error}"
        );
    }

    #[test]
    fn only_environments_that_are_needed_are_asked_for() {
        let needed = |peers: &[&str], works: &[Work]| environments(&select(peers, works)).unwrap();
        assert_eq!(needed(&["floor-uds-sleep"], &[]), ["ours"]);
        assert_eq!(needed(&["mosec", "pyproc-pure"], &[]), ["ours", "mosec"]);
        assert_eq!(needed(&["mosec"], &[Idle]), ["ours"]);
    }

    #[test]
    fn a_peer_without_its_environment_has_no_session() {
        let all = sessions(&select(&[], &[]), &setup(&["ours"])).unwrap();
        assert!(all.iter().any(|session| session.peer == "pyproc-pure"));
        assert!(all.iter().any(|session| session.peer == "floor-uds-sleep"));
        assert!(!all.iter().any(|session| session.peer == "uvicorn-uds"));
    }

    #[test]
    fn a_session_is_one_of_the_selected_works() {
        let burns = sessions(&select(&["pyproc-pure"], &[Burn]), &setup(&["ours"])).unwrap();
        assert!(!burns.is_empty() && burns.iter().all(|session| session.work == Burn));
    }
}
