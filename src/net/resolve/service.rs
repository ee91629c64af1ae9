//! From a service to addresses: SRV records (RFC 2782), and the addresses of their targets.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hickory_resolver::{
    lookup::Lookup,
    proto::rr::{Name, RData, rdata::SRV},
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Addresses, Answer, ResolveError, Shared,
    answer::{Target, Unanswered},
    by, read_name, take_turns,
    upstream::Found,
};

/// Targets that are looked up at the same time.
const AT_ONCE: usize = 16;

/// What is known of each target's addresses.
type Hosts = HashMap<Name, Result<Found, ResolveError>>;

/// The addresses of a service, at least one.
pub(super) async fn look_up(
    shared: &Arc<Shared>,
    written: &str,
    deadline: Instant,
) -> Result<Answer, ResolveError> {
    let ask = async {
        let name = read_name(written)?;
        shared.upstream().await?.srv(written, &name).await
    };
    let (lookup, holds) = by(deadline, written, ask).await?;
    let records = records(written, &lookup)?;
    let mut hosts = came_along(&lookup, &records);
    let mut missing: Vec<Name> = Vec::new();
    for SRV { target, .. } in &records {
        if !hosts.contains_key(target) && !missing.contains(target) {
            missing.push(target.clone());
        }
    }
    look_up_hosts(shared, missing, deadline, &mut hosts).await;
    put_together(written, &records, &mut hosts, holds)
}

/// The SRV records that lead somewhere, at least one.
fn records(written: &str, lookup: &Lookup) -> Result<Vec<SRV>, ResolveError> {
    let name = || written.to_owned();
    let answers = lookup.answers().iter();
    let records = answers.filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(srv.clone()),
        _ => None,
    });
    let (nowhere, mut records): (Vec<SRV>, Vec<SRV>) =
        records.partition(|srv| srv.target.is_root());
    // Nothing can be dialled there.
    records.retain(|srv| srv.port != 0);
    match (records.is_empty(), nowhere.is_empty()) {
        (false, _) => Ok(records),
        (true, false) => Err(ResolveError::NotOffered { name: name() }),
        (true, true) => Err(ResolveError::NoService { name: name() }),
    }
}

/// The addresses of targets that the name server sent with the records. It sends all that it has of a family or none of
/// it (RFC 2181, 5.1), so that a target with any of them is not asked for again: that would be a question for every pod
/// of a Service.
fn came_along(lookup: &Lookup, records: &[SRV]) -> Hosts {
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
        let ips = take_turns(vec![family(true), family(false)]);
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
    shared: &Arc<Shared>,
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
            let shared = Arc::clone(shared);
            asked.spawn(async move {
                let found = shared.host(&absolute(&name), deadline).await;
                (name, found)
            });
        }
        match asked.join_next().await {
            Some(Ok((name, found))) => {
                hosts.insert(name, found);
            }
            // A target whose look-up panicked stays unknown.
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
        return Err(worst.unwrap_or_else(|| ResolveError::Fault {
            name: written.to_owned(),
        }));
    }
    Ok(Answer { addresses, ttl })
}

/// A target as text: it is never completed, whether or not its text ends in a dot.
fn absolute(target: &Name) -> String {
    let mut name = target.to_lowercase();
    name.set_fqdn(true);
    name.to_ascii()
}
