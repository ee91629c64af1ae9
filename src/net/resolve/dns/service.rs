//! Lookups of services: SRV records (RFC 2782), then the addresses of their targets.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hickory_resolver::{
    lookup::Lookup,
    proto::rr::{Name, RData, rdata::SRV},
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    super::{
        Addresses, Answer, ResolveError,
        target::{Target, Unanswered},
    },
    sources::{Sources, by, read_name},
    upstream::{Found, alternate},
};

/// The largest number of targets looked up at the same time.
const AT_ONCE: usize = 16;

/// The addresses of each target, or the reason why it has none.
type Hosts = HashMap<Name, Result<Found, ResolveError>>;

/// Looks up the addresses of a service. Returns at least one address.
pub(super) async fn look_up(
    sources: &Arc<Sources>,
    written: &str,
    deadline: Instant,
) -> Result<Answer, ResolveError> {
    let ask = async {
        let name = read_name(written)?;
        sources.upstream().await?.srv(written, &name).await
    };
    let (lookup, holds) = by(deadline, written, ask).await?;
    let records = records(written, &lookup)?;
    let mut hosts = addresses_sent_along(&lookup, &records);
    let mut missing: Vec<Name> = Vec::new();
    for SRV { target, .. } in &records {
        if !hosts.contains_key(target) && !missing.contains(target) {
            missing.push(target.clone());
        }
    }
    look_up_hosts(sources, missing, deadline, &mut hosts).await;
    put_together(written, &records, &mut hosts, holds)
}

/// Returns the usable SRV records, at least one.
fn records(written: &str, lookup: &Lookup) -> Result<Vec<SRV>, ResolveError> {
    let name = || written.to_owned();
    let answers = lookup.answers().iter();
    let records = answers.filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(srv.clone()),
        _ => None,
    });
    let (nowhere, mut records): (Vec<SRV>, Vec<SRV>) =
        records.partition(|srv| srv.target.is_root());
    // Port 0 cannot be dialled.
    records.retain(|srv| srv.port != 0);
    match (records.is_empty(), nowhere.is_empty()) {
        (false, _) => Ok(records),
        (true, false) => Err(ResolveError::NotOffered(name())),
        (true, true) => Err(ResolveError::NoService(name())),
    }
}

/// Returns the addresses that the name server sent together with the SRV records. A name server sends either all
/// records of a family or none (RFC 2181, 5.1), so a target with any address does not have to be looked up. For a
/// headless Service of Kubernetes this saves the lookup of each pod.
fn addresses_sent_along(lookup: &Lookup, records: &[SRV]) -> Hosts {
    let mut hosts = Hosts::new();
    for SRV { target, .. } in records {
        let of_target = || {
            let records = lookup.additionals().iter();
            records.filter(|record| record.name == *target)
        };
        let family = |six: bool| {
            let ips = of_target().filter_map(|record| record.data.ip_addr());
            ips.filter(|ip| ip.is_ipv6() == six).collect()
        };
        let ips = alternate(vec![family(true), family(false)]);
        if ips.is_empty() {
            continue;
        }
        let addresses = of_target().filter(|record| record.data.ip_addr().is_some());
        let least = addresses.map(|record| record.ttl).min().unwrap_or_default();
        let found = Found {
            ttl: Duration::from_secs(least.into()),
            ..Found::for_ever(ips)
        };
        hosts.insert(target.clone(), Ok(found));
    }
    hosts
}

async fn look_up_hosts(
    sources: &Arc<Sources>,
    names: Vec<Name>,
    deadline: Instant,
    hosts: &mut Hosts,
) {
    let mut names = names.into_iter();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some(name) = names.next()
        {
            let sources = Arc::clone(sources);
            asked.spawn(async move {
                let found = sources.host(&absolute(&name), deadline).await;
                (name, found)
            });
        }
        match asked.join_next().await {
            Some(Ok((name, found))) => {
                hosts.insert(name, found);
            }
            // The lookup panicked. The target counts as unanswered.
            Some(Err(_)) => {}
            None => return,
        }
    }
}

fn put_together(
    written: &str,
    records: &[SRV],
    hosts: &mut Hosts,
    mut ttl: Duration,
) -> Result<Answer, ResolveError> {
    let target = |srv: &SRV| {
        let host = hosts.get(&srv.target);
        let (addresses, unanswered) = match host {
            Some(Ok(found)) => {
                ttl = ttl.min(found.ttl);
                (found.at(srv.port), found.unanswered)
            }
            Some(Err(error)) if error.is_absence() => (Vec::new(), Unanswered::default()),
            Some(Err(_)) | None => (Vec::new(), Unanswered::BOTH),
        };
        Target {
            host: absolute(&srv.target).into(),
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
            addresses,
            unanswered,
        }
    };
    let addresses = Addresses::new(records.iter().map(target).collect());
    if addresses.is_empty() {
        let errors = hosts.drain().filter_map(|(_, found)| found.err());
        let worst = errors.reduce(ResolveError::or_worse);
        return Err(worst.unwrap_or_else(|| ResolveError::Fault(written.to_owned())));
    }
    Ok(Answer { addresses, ttl })
}

/// Returns the target as text with a trailing dot, so that search domains are not appended.
fn absolute(target: &Name) -> String {
    let mut name = target.to_lowercase();
    name.set_fqdn(true);
    name.to_ascii()
}
