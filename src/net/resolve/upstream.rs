//! The name servers, and what is asked of them for one name.

use std::{future::Future, net::IpAddr, pin::pin, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RecordType},
    },
};
use tokio::time;

use super::{ResolveError, take_turns};

/// Name servers, and how a relative name is completed before they are asked.
#[derive(Clone)]
pub(super) struct Upstream {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

/// The addresses of one family, at least one.
type Answer = Result<Vec<IpAddr>, ResolveError>;

/// How long the answer for one family waits for the other's, once it has brought addresses: some name servers never
/// answer AAAA.
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// The longest that the absence of a name is remembered: a Service created a moment ago must be found soon.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// How often a question is asked before it is given up.
const TRIES: u32 = 3;

// === impl Upstream ===

impl Upstream {
    pub(super) fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        timeout: Duration,
    ) -> Result<Self, NetError> {
        let search = config.search().to_vec();
        let ndots = options.ndots;
        options.timeout = options.timeout.min(timeout / TRIES);
        options.negative_max_ttl = Some(NEGATIVE_TTL);
        // `HostsFile` reads it, again and again.
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(config, provider)
            .with_options(options)
            .build()?;
        Ok(Self {
            resolver,
            search,
            ndots,
        })
    }

    /// Asks for one name after the other, as resolv.conf(5) has it, until one has addresses.
    pub(super) async fn look_up(
        &self,
        written: &str,
        name: &Name,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let mut worst = ResolveError::NoSuchName {
            name: written.to_owned(),
        };
        for candidate in self.candidates(name) {
            match self.addresses(written, &candidate).await {
                Ok(addresses) => return Ok(addresses),
                Err(silent @ ResolveError::Timeout { .. }) => return Err(silent),
                Err(error) => worst = worst.or_worse(error),
            }
        }
        Err(worst)
    }

    pub(super) fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut absolute = name.clone();
        absolute.set_fqdn(true);
        if name.is_fqdn() || name.is_localhost() {
            return vec![absolute];
        }
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let completed = self.search.iter();
        let completed = completed.filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut candidates: Vec<Name> = completed.collect();
        let at = if dots >= self.ndots {
            0
        } else {
            candidates.len()
        };
        candidates.insert(at, absolute);
        candidates
    }

    /// Asks for both families at once.
    async fn addresses(&self, written: &str, name: &Name) -> Result<Vec<IpAddr>, ResolveError> {
        let six = pin!(self.family(written, name, RecordType::AAAA));
        let four = pin!(self.family(written, name, RecordType::A));
        let mut found = Vec::new();
        let mut worst = None::<ResolveError>;
        for answer in both(six, four).await.into_iter().flatten() {
            match (answer, worst.take()) {
                (Ok(addresses), _) => found.push(addresses),
                (Err(error), None) => worst = Some(error),
                (Err(error), Some(other)) => worst = Some(other.or_worse(error)),
            }
        }
        match worst {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(take_turns(found)),
        }
    }

    async fn family(&self, written: &str, name: &Name, family: RecordType) -> Answer {
        let written = written.to_owned();
        match self.resolver.lookup(name.clone(), family).await {
            Ok(lookup) => {
                let answers = lookup.answers().iter();
                let addresses: Vec<_> =
                    answers.filter_map(|record| record.data.ip_addr()).collect();
                if addresses.is_empty() {
                    // An alias that leads nowhere.
                    return Err(ResolveError::NoAddresses { name: written });
                }
                Ok(addresses)
            }
            Err(error) => Err(classify(written, error)),
        }
    }
}

fn classify(name: String, error: NetError) -> ResolveError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            match response_code {
                ResponseCode::NXDomain => ResolveError::NoSuchName { name },
                _ => ResolveError::NoAddresses { name },
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => ResolveError::ServerFailure {
            name,
            code: code.to_string(),
        },
        NetError::Timeout => ResolveError::Timeout { name },
        source => ResolveError::Unreachable { name, source },
    }
}

/// Both answers, IPv6 first; of the later one only what comes in time, once the earlier one has brought addresses.
async fn both(
    mut six: impl Future<Output = Answer> + Unpin,
    mut four: impl Future<Output = Answer> + Unpin,
) -> [Option<Answer>; 2] {
    async fn later(first: &Answer, second: impl Future<Output = Answer>) -> Option<Answer> {
        if first.is_ok() {
            time::timeout(OTHER_FAMILY, second).await.ok()
        } else {
            Some(second.await)
        }
    }
    tokio::select! {
        answer = &mut six => {
            let other = later(&answer, four).await;
            [Some(answer), other]
        }
        answer = &mut four => {
            let other = later(&answer, six).await;
            [other, Some(answer)]
        }
    }
}
