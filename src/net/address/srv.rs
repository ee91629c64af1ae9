//! Names of SRV records (RFC 2782).

use std::{fmt, str::FromStr, sync::Arc};

use super::{AddressError, Host, host};

/// The name of SRV records: `_service._protocol.domain`. If it ends with a dot, search domains are not appended.
///
/// ```
/// use tapfan::config::SrvName;
///
/// let name = "_dnstap._tcp.collector.dns-obs.svc.cluster.local.".parse::<SrvName>()?;
/// assert_eq!(name.domain(), "collector.dns-obs.svc.cluster.local.");
/// assert!("collector.dns-obs".parse::<SrvName>().is_err());
/// # Ok::<(), tapfan::config::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SrvName(Arc<str>);

// === impl SrvName ===

impl SrvName {
    /// Returns the name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the domain that offers the service: the name without its first two labels.
    pub fn domain(&self) -> &str {
        self.0.splitn(3, '.').nth(2).unwrap_or_default()
    }
}

impl FromStr for SrvName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let other = || AddressError::NotSrvName(text.to_owned());
        let Host::Name(name) = host::unbracketed(text)? else {
            return Err(other());
        };
        let mut labels = name.splitn(3, '.');
        let mut underscored = || {
            labels
                .next()
                .is_some_and(|label| label.len() > 1 && label.starts_with('_'))
        };
        if underscored() && underscored() && labels.next().is_some_and(|domain| !domain.is_empty())
        {
            Ok(Self(name))
        } else {
            Err(other())
        }
    }
}

impl fmt::Display for SrvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_and_a_protocol_come_before_the_domain() {
        for (text, domain) in [
            ("_dnstap._tcp.example", "example"),
            ("_dnstap._tcp.c.example.", "c.example."),
            ("_DNSTAP._TCP.Example", "Example"),
        ] {
            let name: SrvName = text.parse().expect(text);
            assert_eq!((name.as_str(), name.domain()), (text, domain));
        }
        for text in [
            "example",
            "_dnstap.example",
            "_tcp.example",
            "_dnstap._tcp",
            "_dnstap._tcp.",
            "_._tcp.example",
            "dnstap._tcp.example",
            "192.0.2.1",
        ] {
            let other = AddressError::NotSrvName(text.into());
            assert_eq!(text.parse::<SrvName>(), Err(other));
        }
        let empty = AddressError::EmptyLabel("_dnstap._tcp..".into());
        assert_eq!("_dnstap._tcp..".parse::<SrvName>(), Err(empty));
    }
}
