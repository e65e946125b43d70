//! Questions about the rest of the world: asked at the node's own name servers, answers kept.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, Record, RecordType};
use tokio::sync::Semaphore;

/// How long one name server has to answer.
const TRY_DEADLINE: Duration = Duration::from_secs(2);
/// How long a client waits at most; its own patience usually ends here.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Answers that are kept.
const CACHE_ANSWERS: u64 = 1024;
/// Questions that may wait for an answer at the same time.
const WAITING_MAX: usize = 256;

/// What upstream said.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
}

/// Asks upstream. Reads the list of name servers again whenever its file has changed.
pub(crate) struct Forwarder {
    resolv_conf: PathBuf,
    /// Our own address: asking ourselves would go on for ever.
    not: IpAddr,
    current: Mutex<Current>,
    places: Semaphore,
}

struct Current {
    /// When the file was changed that `resolver` was made from.
    stamp: Option<SystemTime>,
    /// `None` if there is no name server.
    resolver: Option<TokioResolver>,
}

impl Forwarder {
    /// Uses the name servers in `resolv_conf`, except `not`.
    pub(crate) fn new(resolv_conf: PathBuf, not: IpAddr) -> Self {
        let current = Mutex::new(Current { stamp: None, resolver: None });
        Self { resolv_conf, not, current, places: Semaphore::new(WAITING_MAX) }
    }

    pub(crate) async fn ask(&self, name: &Name, kind: RecordType) -> Forwarded {
        let Ok(_place) = self.places.try_acquire() else {
            return failed(ResponseCode::ServFail);
        };
        let Some(resolver) = self.resolver() else { return failed(ResponseCode::ServFail) };
        let mut name = name.clone();
        name.set_fqdn(true);
        match tokio::time::timeout(ANSWER_DEADLINE, resolver.lookup(name, kind)).await {
            Ok(Ok(lookup)) => Forwarded {
                code: ResponseCode::NoError,
                answers: lookup.answers().to_vec(),
                authorities: Vec::new(),
            },
            Ok(Err(error)) => refused(error),
            Err(_) => failed(ResponseCode::ServFail),
        }
    }

    /// The resolver for the name servers that the file names now.
    pub(crate) fn resolver(&self) -> Option<TokioResolver> {
        let metadata = std::fs::metadata(&self.resolv_conf);
        let stamp = metadata.and_then(|metadata| metadata.modified()).ok();
        let mut current = self.current.lock().expect("no holder panics");
        if current.stamp != stamp {
            current.stamp = stamp;
            current.resolver = self.read();
        }
        current.resolver.clone()
    }

    fn read(&self) -> Option<TokioResolver> {
        let text = std::fs::read(&self.resolv_conf).ok()?;
        let (config, _) = parse_resolv_conf(text)
            .inspect_err(
                |error| tracing::warn!(%error, path = %self.resolv_conf.display(), "unreadable"),
            )
            .ok()?;
        let servers = config.name_servers().iter().filter(|server| server.ip != self.not);
        let servers: Vec<_> = servers.cloned().collect();
        tracing::info!(count = servers.len(), "name servers for the rest of the world");
        resolver(servers)
    }

    /// Uses exactly these name servers, whatever the file says.
    #[cfg(test)]
    pub(crate) fn fixed(servers: Vec<NameServerConfig>) -> Self {
        let nowhere = std::net::Ipv4Addr::UNSPECIFIED.into();
        let forwarder = Self::new(PathBuf::from("/nonexistent/resolv.conf"), nowhere);
        forwarder.current.lock().expect("new").resolver = resolver(servers);
        forwarder
    }
}

fn resolver(servers: Vec<NameServerConfig>) -> Option<TokioResolver> {
    if servers.is_empty() {
        return None;
    }
    let config = ResolverConfig::from_name_servers(servers);
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    set_options(builder.options_mut());
    builder.build().inspect_err(|error| tracing::warn!(%error, "no resolver")).ok()
}

fn set_options(options: &mut ResolverOpts) {
    options.timeout = TRY_DEADLINE;
    options.attempts = 1;
    options.cache_size = CACHE_ANSWERS;
    // The node's own /etc/hosts is not the cluster's.
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
}

fn refused(error: NetError) -> Forwarded {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => Forwarded {
            code: none.response_code,
            answers: Vec::new(),
            authorities: none.soa.map(|soa| soa.into_record_of_rdata()).into_iter().collect(),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => failed(code),
        error => {
            tracing::debug!(%error, "no answer from upstream");
            failed(ResponseCode::ServFail)
        }
    }
}

fn failed(code: ResponseCode) -> Forwarded {
    Forwarded { code, answers: Vec::new(), authorities: Vec::new() }
}
