//! Addresses of collectors.

use super::{Config, ExporterType, OtlpConfig, OtlpProtocol};

/// Where requests go.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// A name or address, without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Begins with a slash.
    pub(crate) path: String,
}

const TRACES: &str = "/v1/traces";
#[cfg(feature = "otlp-metrics")]
const METRICS: &str = "/v1/metrics";

/// Ports on which old collectors of Jaeger took what OTLP has replaced.
const OLD_JAEGER_PORTS: [u16; 2] = [14268, 14250];

impl Endpoint {
    /// Reads `http://host:port/path`. The error does not repeat the address, which may hold a password.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        let (tls, rest) = match address.trim().split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err("must begin with http:// or https://".into()),
        };
        if tls && !cfg!(feature = "tls") {
            return Err("https needs the feature `tls` of pyproc-telemetry".into());
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        Ok(Self {
            tls,
            host,
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: checked_path(path)?,
        })
    }

    /// Reads an address to which a path is appended.
    pub(super) fn parse_base(address: &str) -> Result<Self, String> {
        match address.contains('?') {
            true => Err("must not have a query; give the full address for traces instead".into()),
            false => Self::parse(address),
        }
    }

    /// The collector of traces in effect, and what should be said about the choice.
    pub(crate) fn of(config: &Config) -> Result<(Self, Option<String>), String> {
        if let Some(address) = &config.otlp.exact_endpoint {
            return Self::parse(address).map(|endpoint| (endpoint, None));
        }
        let mut endpoint = Self::base(&config.otlp)?;
        let is_jaeger = config.exporter_type == ExporterType::Jaeger;
        let port = default_port(&config.otlp);
        let old = is_jaeger.then(|| endpoint.leave_old_jaeger(port)).flatten();
        endpoint.append(TRACES, &config.otlp);
        let warning = old.map(|old| {
            format!(
                "{old} is an address of Jaeger's old protocol; spans go as OTLP to {endpoint}, which Jaeger takes since 1.35"
            )
        });
        Ok((endpoint, warning))
    }

    /// The collector of metrics in effect.
    #[cfg(feature = "otlp-metrics")]
    pub(crate) fn of_metrics(otlp: &OtlpConfig) -> Result<Self, String> {
        if let Some(address) = &otlp.exact_endpoint {
            return Self::parse(address);
        }
        let mut endpoint = Self::base(otlp)?;
        endpoint.append(METRICS, otlp);
        Ok(endpoint)
    }

    fn base(otlp: &OtlpConfig) -> Result<Self, String> {
        match &otlp.endpoint {
            Some(address) => Self::parse_base(address),
            None => Self::parse(&format!("http://localhost:{}", default_port(otlp))),
        }
    }

    fn append(&mut self, path: &str, otlp: &OtlpConfig) {
        if otlp.protocol != OtlpProtocol::Grpc && !self.path.ends_with(path) {
            self.path = format!("{}{path}", self.path.trim_end_matches('/'));
        }
    }

    /// Whether a collector of Jaeger's old protocol was there.
    #[cfg(any(test, feature = "otlp-metrics"))]
    pub(super) fn is_old_jaeger(address: &str) -> bool {
        Self::parse_base(address).is_ok_and(|endpoint| endpoint.is_old())
    }

    fn is_old(&self) -> bool {
        OLD_JAEGER_PORTS.contains(&self.port) || self.path == "/api/traces"
    }

    /// Jaeger's own protocol is gone; its old addresses lead to the port that speaks OTLP. Returns the old one.
    fn leave_old_jaeger(&mut self, port: u16) -> Option<Self> {
        if !self.is_old() {
            return None;
        }
        let new = Self {
            port,
            path: "/".into(),
            ..self.clone()
        };
        Some(std::mem::replace(self, new))
    }

    /// What the header `Host` says.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// For messages: without the query, which may hold a key.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

fn default_port(otlp: &OtlpConfig) -> u16 {
    match otlp.protocol {
        OtlpProtocol::Grpc => 4317,
        OtlpProtocol::HttpProtobuf => 4318,
    }
}

/// What of an address that was not checked may be shown.
pub(super) fn without_secrets(address: &str) -> String {
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    if query.contains('@') {
        // The question mark may be part of a password.
        return "…".into();
    }
    match (address.rsplit_once('@'), address.split_once("://")) {
        (Some((_, host)), Some((scheme, _))) => format!("{scheme}://…@{host}"),
        (Some((_, host)), None) => format!("…@{host}"),
        (None, _) => address.to_owned(),
    }
}

fn split_port(authority: &str) -> Result<(String, Option<u16>), String> {
    if authority.contains('@') {
        return Err("must not hold a user or password; send them as a header".into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has an unclosed bracket")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "has brackets around what is no IPv6 address")?;
            (host, port.strip_prefix(':').or(Some(port)))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Err("has no valid host".into());
    }
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or("has no valid port")?,
        ),
    };
    Ok((host.to_owned(), port))
}

fn checked_path(path: &str) -> Result<String, String> {
    if path.contains('#') {
        return Err("must not have a fragment".into());
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters in its path that must be percent-encoded".into());
    }
    Ok(match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(exporter: ExporterType, otlp: OtlpConfig) -> (String, Option<String>) {
        let config = Config {
            exporter_type: exporter,
            otlp,
            ..Config::default()
        };
        let (endpoint, warning) = Endpoint::of(&config).unwrap();
        (endpoint.to_string(), warning)
    }

    fn base(address: &str) -> OtlpConfig {
        OtlpConfig {
            endpoint: Some(address.into()),
            ..OtlpConfig::default()
        }
    }

    #[test]
    fn the_path_for_traces_is_appended_to_a_base_only() {
        for (address, url) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("http://c/otlp/", "http://c/otlp/v1/traces"),
            ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
            ("HTTP://c:80", "http://c/v1/traces"),
        ] {
            assert_eq!(resolved(ExporterType::Otlp, base(address)).0, url);
        }
        let full = OtlpConfig {
            exact_endpoint: Some("http://c/ingest?x=1".into()),
            ..base("http://other")
        };
        let config = Config {
            otlp: full,
            ..Config::default()
        };
        assert_eq!(Endpoint::of(&config).unwrap().0.path, "/ingest?x=1");
        let default = resolved(ExporterType::Otlp, OtlpConfig::default()).0;
        assert_eq!(default, "http://localhost:4318/v1/traces");
    }

    #[test]
    fn an_old_jaeger_address_is_mapped_with_a_warning() {
        for old in [
            "http://jaeger:14268/api/traces",
            "http://jaeger:14250",
            "http://jaeger:80/api/traces",
        ] {
            let (url, warning) = resolved(ExporterType::Jaeger, base(old));
            assert_eq!(url, "http://jaeger:4318/v1/traces");
            let warning = warning.unwrap();
            assert!(warning.contains("jaeger:4318"), "{warning}");
        }
        let (url, warning) = resolved(ExporterType::Jaeger, base("http://jaeger:4318"));
        assert_eq!(
            (url.as_str(), warning),
            ("http://jaeger:4318/v1/traces", None)
        );
        let (url, warning) = resolved(ExporterType::Otlp, base("http://c:14268"));
        assert_eq!((url.as_str(), warning), ("http://c:14268/v1/traces", None));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "collector:4318",
            "ftp://c",
            "http://",
            "http://:4318",
            "http://c:0",
            "http://c:65536",
            "http://c:http",
            "http://a b",
            "http://[::1",
            "http://[c]",
            "http://[::1]x",
            "http://me@c",
            "http://c/#x",
            "http://c/\r\nx: y",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Endpoint::parse_base("http://c/?x=1").is_err());
    }
}
