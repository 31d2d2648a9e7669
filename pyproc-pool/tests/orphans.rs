//! Workers never outlive the service, whatever ended it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{env, process::Command};

use support::{Killed, Scratch, is_alive, odd, pids, service, until};

/// The service that is killed: this test binary once more, which prints the ids of its
/// workers and waits for its end.
#[tokio::test]
async fn service_for_the_tests_below() {
    let Some(sockets) = env::var_os("ORPHANS_SOCKETS") else {
        return;
    };
    let pool = odd(2).socket_dir(sockets).start().await.unwrap();
    println!("\nworkers: {:?}", pids(&pool));
    std::future::pending::<()>().await;
}

fn start_service(sockets: &Scratch) -> (Killed, Vec<u32>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env("ORPHANS_SOCKETS", sockets.path());
    let (service, mut printed) = service(&mut command, "service_for_the_tests_below", "workers: ");
    let pids = serde_json::from_value(printed.next().unwrap()).unwrap();
    (service, pids)
}

async fn dies_with(signal: &str) {
    let sockets = Scratch::new();
    let (mut service, workers) = start_service(&sockets);
    assert!(workers.iter().all(|pid| is_alive(*pid)));
    let id = service.0.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success()
    );
    service.0.wait().unwrap();
    until("the workers are gone", || {
        !workers.iter().any(|pid| is_alive(*pid))
    })
    .await;
}

#[tokio::test]
async fn workers_die_with_a_service_that_is_killed() {
    dies_with("-KILL").await;
}

#[tokio::test]
async fn workers_die_with_a_service_that_is_terminated() {
    dies_with("-TERM").await;
}

#[tokio::test]
async fn workers_die_with_a_service_that_aborts() {
    dies_with("-ABRT").await;
}
