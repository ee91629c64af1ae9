//! Name servers, and the questions that are asked for one name.

use std::{
    collections::HashSet,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use hickory_resolver::{
    Resolver,
    config::{ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, NoRecords},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
};
use tokio::time;

use super::{
    super::{ResolveError, target::Unanswered},
    edns::Connections,
};

/// Name servers, and the rules for appending search domains to a relative name.
#[derive(Clone)]
pub(super) struct Upstream {
    resolver: Resolver<Connections>,
    search: Vec<Name>,
    ndots: usize,
}

/// The settings that override `resolv.conf`.
#[derive(Debug, Clone)]
pub(super) struct Overrides {
    pub(super) search: Vec<Name>,
    pub(super) ndots: Option<usize>,
    pub(super) timeout: Duration,
}

/// The addresses that were found for one host, at least one.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) ips: Vec<IpAddr>,
    pub(super) ttl: Duration,
    pub(super) unanswered: Unanswered,
}

/// The addresses of one family, at least one, and their TTL.
type FamilyAnswer = Result<(Vec<IpAddr>, Duration), ResolveError>;

/// The time that is left for the answer about one address family after the other family has returned addresses. Some
/// name servers never answer questions for AAAA records.
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// The largest number of CNAME records that are followed in one chain.
const ALIASES: usize = 8;

/// The number of times a question is sent.
const TRIES: u32 = 3;

// === impl Upstream ===

impl Upstream {
    pub(super) fn new(
        config: &ResolverConfig,
        mut options: ResolverOpts,
        overrides: &Overrides,
    ) -> Result<Self, NetError> {
        let search = if overrides.search.is_empty() {
            config.search().to_vec()
        } else {
            overrides.search.clone()
        };
        let ndots = overrides.ndots.unwrap_or(options.ndots);
        options.timeout = options.timeout.min(overrides.timeout / TRIES);
        // hickory caches nothing, because the callers keep the answers: they know the TTL, and decide when to ask
        // again.
        options.cache_size = 0;
        // `HostsFile` reads `/etc/hosts`, and reads it again after each change.
        options.use_hosts_file = ResolveHosts::Never;
        let servers = config.name_servers().to_vec();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let resolver = Resolver::builder_with_config(config, Connections::default())
            .with_options(options)
            .build()?;
        Ok(Self {
            resolver,
            search,
            ndots,
        })
    }

    /// Looks up the addresses of a host.
    pub(super) async fn host(&self, written: &str, name: &Name) -> Result<Found, ResolveError> {
        let ask = |name: Name| async move { self.addresses(written, &name).await };
        self.first(written, name, ask).await
    }

    /// Looks up the SRV records of a service. Returns the answer, including additional records, and the TTL.
    pub(super) async fn srv(
        &self,
        written: &str,
        name: &Name,
    ) -> Result<(Lookup, Duration), ResolveError> {
        let ask = |name: Name| async move { self.service(written, name).await };
        self.first(written, name, ask).await
    }

    /// Looks up SRV records. This function follows aliases itself, because hickory cannot: it treats the target of an
    /// SRV record as an alias, and loses the records if a CNAME comes before them.
    async fn service(
        &self,
        written: &str,
        mut name: Name,
    ) -> Result<(Lookup, Duration), ResolveError> {
        let mut holds = Duration::MAX;
        for _ in 0..ALIASES {
            let absence = match self.resolver.lookup(name.clone(), RecordType::SRV).await {
                Ok(lookup) => {
                    let holds = holds.min(ttl(&lookup));
                    return Ok((lookup, holds));
                }
                Err(error) => match classify(written.to_owned(), error) {
                    ResolveError::NoAddresses(name) => ResolveError::NoService(name),
                    absence @ ResolveError::NoSuchName { .. } => absence,
                    failure => return Err(failure),
                },
            };
            let alias = self.resolver.lookup(name.clone(), RecordType::CNAME).await;
            let Some((target, ttl)) = alias.as_ref().ok().and_then(|alias| alias_of(&name, alias))
            else {
                return Err(absence);
            };
            (name, holds) = (target, holds.min(ttl));
        }
        Err(ResolveError::NoService(written.to_owned()))
    }

    /// Asks for each candidate name in turn, in the order of resolv.conf(5), until one exists.
    async fn first<T, F: Future<Output = Result<T, ResolveError>>>(
        &self,
        written: &str,
        name: &Name,
        ask: impl Fn(Name) -> F,
    ) -> Result<T, ResolveError> {
        let mut worst = ResolveError::NoSuchName(written.to_owned());
        for candidate in self.candidates(name) {
            match ask(candidate).await {
                Ok(found) => return Ok(found),
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

    /// Asks for both families at the same time.
    async fn addresses(&self, written: &str, name: &Name) -> Result<Found, ResolveError> {
        let six = pin!(self.family(written, name, RecordType::AAAA));
        let four = pin!(self.family(written, name, RecordType::A));
        let [six, four] = both(six, four).await;
        let unanswered = Unanswered {
            four: is_unanswered(four.as_ref()),
            six: is_unanswered(six.as_ref()),
        };
        let mut found = Vec::new();
        let mut ttl = Duration::MAX;
        let mut worst = None::<ResolveError>;
        for answer in [six, four].into_iter().flatten() {
            match (answer, worst.take()) {
                (Ok((ips, of_these)), before) => {
                    found.push(ips);
                    ttl = ttl.min(of_these);
                    worst = before;
                }
                (Err(error), None) => worst = Some(error),
                (Err(error), Some(other)) => worst = Some(other.or_worse(error)),
            }
        }
        match worst {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(Found {
                ips: alternate(found),
                ttl,
                unanswered,
            }),
        }
    }

    async fn family(&self, written: &str, name: &Name, family: RecordType) -> FamilyAnswer {
        let written = written.to_owned();
        match self.resolver.lookup(name.clone(), family).await {
            Ok(lookup) => {
                let answers = lookup.answers().iter();
                let ips: Vec<_> = answers.filter_map(|record| record.data.ip_addr()).collect();
                if ips.is_empty() {
                    // A CNAME chain that does not lead to an address.
                    return Err(ResolveError::NoAddresses(written));
                }
                Ok((ips, ttl(&lookup)))
            }
            Err(error) => Err(classify(written, error)),
        }
    }
}

// === impl Found ===

impl Found {
    /// Creates a result of addresses from `/etc/hosts`, which do not expire.
    pub(super) fn for_ever(ips: Vec<IpAddr>) -> Self {
        Self {
            ips,
            ttl: Duration::MAX,
            unanswered: Unanswered::default(),
        }
    }

    pub(super) fn at(&self, port: u16) -> Vec<SocketAddr> {
        let ips = self.ips.iter();
        ips.map(|ip| SocketAddr::new(*ip, port)).collect()
    }
}

/// Returns the smallest TTL of the records, including aliases.
pub(super) fn ttl(lookup: &Lookup) -> Duration {
    let ttls = lookup.answers().iter().map(|record| record.ttl);
    ttls.min()
        .map_or(Duration::MAX, |ttl| Duration::from_secs(ttl.into()))
}

/// Takes one address from each list in turn. Duplicates are removed.
pub(super) fn alternate(lists: Vec<Vec<IpAddr>>) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut alternating = Vec::new();
    loop {
        let before = alternating.len();
        for list in &mut lists {
            alternating.extend(list.find(|address| seen.insert(*address)));
        }
        if alternating.len() == before {
            return alternating;
        }
    }
}

fn alias_of(name: &Name, lookup: &Lookup) -> Option<(Name, Duration)> {
    let mut answers = lookup.answers().iter();
    answers.find_map(|record| match &record.data {
        RData::CNAME(alias) if record.name == *name => {
            Some((alias.0.clone(), Duration::from_secs(record.ttl.into())))
        }
        _ => None,
    })
}

/// Returns true if `answer` does not show whether the name has addresses of the family.
fn is_unanswered(answer: Option<&FamilyAnswer>) -> bool {
    match answer {
        None => true,
        Some(Ok(_)) => false,
        Some(Err(error)) => !error.is_absence(),
    }
}

fn classify(name: String, error: NetError) -> ResolveError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            match response_code {
                ResponseCode::NXDomain => ResolveError::NoSuchName(name),
                _ => ResolveError::NoAddresses(name),
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => ResolveError::ServerFailure {
            name,
            code: code.to_string(),
        },
        NetError::Timeout => ResolveError::Timeout(name),
        error => ResolveError::Unreachable {
            name,
            source: error.into(),
        },
    }
}

/// Waits for both answers and returns IPv6 first. After one family has returned addresses, the other family has only
/// [`OTHER_FAMILY`] more time.
async fn both(
    mut six: impl Future<Output = FamilyAnswer> + Unpin,
    mut four: impl Future<Output = FamilyAnswer> + Unpin,
) -> [Option<FamilyAnswer>; 2] {
    async fn later(
        first: &FamilyAnswer,
        second: impl Future<Output = FamilyAnswer>,
    ) -> Option<FamilyAnswer> {
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
