//! The address of a Kafka sink: brokers and a topic.

use std::{fmt, str::FromStr, sync::Arc};

use super::{AddressError, Authority, authority::read_broker};

/// The brokers of a Kafka cluster, and a topic: `kafka://b1.example,b2.example:9093/dnstap`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KafkaAddress {
    /// The brokers from which the sink learns the other brokers of the cluster. Not empty.
    pub brokers: Arc<[Authority]>,
    /// The topic to which the sink writes.
    pub topic: Topic,
    /// True if the connections to the brokers use TLS: `kafka+tls://`.
    pub is_tls: bool,
}

/// The name of a Kafka topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// A mistake in the brokers or the topic of a Kafka sink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaAddressError {
    /// `kafka://b1.example:9092`.
    #[error("the address has no topic")]
    MissingTopic,
    /// `kafka://b1.example,,b2.example/dnstap`.
    #[error("a broker in the list is empty")]
    EmptyBroker,
    /// `kafka://b1.example,kafka://b2.example/dnstap`.
    #[error("a broker in the list has a scheme")]
    RepeatedScheme,
    /// `kafka://b1.example:/dnstap`.
    #[error("no port follows the colon after a broker")]
    MissingPort,
    /// `kafka://user@b1.example/dnstap`.
    #[error("the address contains a user name")]
    UserInfo,
    /// A topic over 249 characters.
    #[error("the topic has {0} characters; {TOPIC_LIMIT} is the limit")]
    LongTopic(usize),
    /// A character that no topic can contain.
    #[error("the topic `{topic}` contains {found:?}, which is not allowed")]
    TopicCharacter {
        /// The topic as written.
        topic: String,
        /// The first such character.
        found: char,
    },
    /// `.` and `..`.
    #[error("`{0}` is not the name of a topic")]
    DotTopic(String),
}

/// The default port of brokers.
const BROKER_PORT: u16 = 9092;

/// The longest name of a topic. Brokers make a folder of this name, with the number of the partition after it.
const TOPIC_LIMIT: usize = 249;

// === impl KafkaAddress ===

impl KafkaAddress {
    /// Reads the brokers and the topic after the scheme. `whole` is the address that contains `text`. A proposed
    /// correction is a corrected copy of `whole`.
    pub(super) fn read(text: &str, whole: &str, is_tls: bool) -> Result<Self, AddressError> {
        if text.contains("://") {
            return Err(KafkaAddressError::RepeatedScheme.into());
        }
        let (brokers, topic) = text.split_once('/').ok_or({
            // In `kafka://b1, b2/topic`, the space ends the address.
            if text.ends_with(',') {
                KafkaAddressError::EmptyBroker
            } else {
                KafkaAddressError::MissingTopic
            }
        })?;
        if brokers.contains('@') {
            return Err(KafkaAddressError::UserInfo.into());
        }
        let is_list = brokers.contains(',');
        let read = |broker| match broker {
            "" => Err(KafkaAddressError::EmptyBroker.into()),
            // A proposal that corrects one broker may leave the same mistake in another.
            broker => read_broker(broker, whole, BROKER_PORT).map_err(|error| match error {
                AddressError::UnbracketedIpv6 { .. } if is_list => {
                    AddressError::UnbracketedIpv6 { right: None }
                }
                AddressError::MissingPort => KafkaAddressError::MissingPort.into(),
                error => error,
            }),
        };
        let brokers = brokers.split(',').map(read).collect::<Result<_, _>>()?;
        let topic = topic.parse()?;
        Ok(Self {
            brokers,
            topic,
            is_tls,
        })
    }
}

impl fmt::Display for KafkaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls {
            "kafka+tls://"
        } else {
            "kafka://"
        })?;
        for (index, broker) in self.brokers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{broker}")?;
        }
        write!(f, "/{}", self.topic)
    }
}

// === impl Topic ===

impl Topic {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = KafkaAddressError;

    /// Reads a name that Kafka accepts: letters, digits, `.`, `_` and `-`.
    ///
    /// ```
    /// use tapfan::config::Topic;
    ///
    /// assert_eq!("dns.taps-1".parse::<Topic>()?.as_str(), "dns.taps-1");
    /// assert!("dns taps".parse::<Topic>().is_err());
    /// # Ok::<(), tapfan::config::KafkaAddressError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, KafkaAddressError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(found) = text.chars().find(|c| !is_allowed(*c)) {
            return Err(KafkaAddressError::TopicCharacter {
                topic: text.to_owned(),
                found,
            });
        }
        match text.len() {
            0 => Err(KafkaAddressError::MissingTopic),
            length if length > TOPIC_LIMIT => Err(KafkaAddressError::LongTopic(length)),
            _ if matches!(text, "." | "..") => Err(KafkaAddressError::DotTopic(text.to_owned())),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl KafkaAddressError ===

impl KafkaAddressError {
    /// Returns advice for an operator.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::MissingTopic => {
                "write a slash and the topic after the brokers, as in `kafka://b1.example,b2.example/dnstap`"
            }
            Self::EmptyBroker => {
                "write one comma between brokers and no space, as in `kafka://b1.example,b2.example:9093/dnstap`"
            }
            Self::RepeatedScheme => {
                "write the scheme once, before the first broker, as in `kafka://b1.example,b2.example/dnstap`"
            }
            Self::MissingPort => "write the port, or remove the colon: the default port is 9092",
            Self::UserInfo => {
                "remove it, and write the user and the password file in the option `sasl`"
            }
            Self::LongTopic(_) => "choose a shorter one; Kafka sets the limit",
            Self::TopicCharacter { .. } | Self::DotTopic(_) => {
                "the name of a topic consists of ASCII letters, digits, `.`, `_` and `-`"
            }
        }
    }
}
