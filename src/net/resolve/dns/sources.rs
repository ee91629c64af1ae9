//! The places where hosts are looked up: `/etc/hosts` first, then the name servers.

use std::{future::Future, net::IpAddr};

use hickory_resolver::{
    lookup::Lookup,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};
use tokio::time::{Instant, timeout_at};

use super::{
    super::ResolveError,
    system::{HostsFile, ResolvConf},
    upstream::{Found, Upstream, alternate},
};

pub(super) struct Sources {
    pub(super) hosts: HostsFile,
    pub(super) servers: Servers,
}

pub(super) enum Servers {
    Configured(Upstream),
    System(ResolvConf),
}

// === impl Sources ===

impl Sources {
    pub(super) async fn host(
        &self,
        written: &str,
        deadline: Instant,
    ) -> Result<Found, ResolveError> {
        let lookup = async {
            let name = read_name(written)?;
            if let Some(found) = self.in_hosts_file(&name).await {
                return Ok(found);
            }
            self.upstream().await?.host(written, &name).await
        };
        by(deadline, written, lookup).await
    }

    async fn in_hosts_file(&self, name: &Name) -> Option<Found> {
        let hosts = self.hosts.read().await;
        let family = |family| -> Vec<IpAddr> {
            let lookup = hosts.lookup_static_host(&Query::query(name.clone(), family));
            let answers = lookup.iter().flat_map(Lookup::answers);
            answers.filter_map(|record| record.data.ip_addr()).collect()
        };
        let families = [RecordType::AAAA, RecordType::A].map(family);
        let addresses = alternate(families.into());
        (!addresses.is_empty()).then(|| Found::for_ever(addresses))
    }

    pub(super) async fn upstream(&self) -> Result<Upstream, ResolveError> {
        match &self.servers {
            Servers::Configured(upstream) => Ok(upstream.clone()),
            Servers::System(file) => file.read().await,
        }
    }
}

/// Limits a lookup to a deadline.
pub(super) async fn by<T>(
    deadline: Instant,
    name: &str,
    lookup: impl Future<Output = Result<T, ResolveError>>,
) -> Result<T, ResolveError> {
    timeout_at(deadline, lookup)
        .await
        .unwrap_or_else(|_| Err(ResolveError::Timeout(name.to_owned())))
}

pub(super) fn read_name(written: &str) -> Result<Name, ResolveError> {
    Name::from_str_relaxed(written).map_err(|_| ResolveError::BadName(written.to_owned()))
}
