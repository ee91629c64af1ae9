//! The error codes of brokers: their names, what they mean for a producer, and what an operator can do.

use std::fmt;

/// An error code in a response. Zero is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ErrorCode(pub(crate) i16);

/// The meaning of an error code for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The broker has stored the batch, now or before.
    Stored,
    /// The broker cannot store the batch now. It may be able to do so later.
    Later,
    /// Another broker is the leader of the partition, or the partition no longer exists.
    Moved,
    /// The batch is too large, or one of its records can never be stored.
    Refused,
    /// The broker does not know the producer id any more, or expects another sequence number.
    Forgotten,
    /// No batch can be stored until an operator changes something.
    Denied,
}

// === impl ErrorCode ===

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:ident, $hint:literal;)*) => {
        impl ErrorCode {
            $(pub(crate) const $name: Self = Self($code);)*

            /// Returns the name of the code in Kafka's documentation. `None` if this version of tapfan does not know it.
            pub(crate) fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            pub(super) fn meaning(self) -> Meaning {
                match self {
                    $(Self::$name => Meaning::$meaning,)*
                    // One partition may have the problem alone, so the others get batches.
                    _ => Meaning::Later,
                }
            }

            /// Returns what an operator can do, as the end of a sentence.
            fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)*
                    _ => "; see the broker's log",
                }
            }
        }
    };
}

codes! {
    NONE = 0, Stored, "";
    UNKNOWN_SERVER_ERROR = -1, Later, "; see the broker's log";
    CORRUPT_MESSAGE = 2, Later, "; the batch arrived damaged: check the network and the memory of both machines. With Kafka before 2.4, the topic may be compacted: then set `cleanup.policy=delete`";
    UNKNOWN_TOPIC_OR_PARTITION = 3, Moved, "; create the topic, because tapfan does not create topics";
    LEADER_NOT_AVAILABLE = 5, Moved, "; an election is in progress, or all in-sync replicas are down: start their brokers";
    NOT_LEADER_OR_FOLLOWER = 6, Moved, "";
    REQUEST_TIMED_OUT = 7, Later, "; the replicas of the partition are slow";
    BROKER_NOT_AVAILABLE = 8, Moved, "";
    REPLICA_NOT_AVAILABLE = 9, Moved, "";
    MESSAGE_TOO_LARGE = 10, Refused, "; raise `max.message.bytes` of the topic";
    NETWORK_EXCEPTION = 13, Later, "";
    COORDINATOR_LOAD_IN_PROGRESS = 14, Later, "";
    COORDINATOR_NOT_AVAILABLE = 15, Later, "";
    NOT_COORDINATOR = 16, Later, "";
    INVALID_TOPIC_EXCEPTION = 17, Denied, "; correct the topic's name in the SOCKET";
    RECORD_LIST_TOO_LARGE = 18, Refused, "; raise `segment.bytes` of the topic";
    NOT_ENOUGH_REPLICAS = 19, Later, "; start the brokers that are down, or lower `min.insync.replicas` of the topic";
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, Later, "; start the brokers that are down, or lower `min.insync.replicas` of the topic";
    TOPIC_AUTHORIZATION_FAILED = 29, Denied, "; allow the user to `Write` and `Describe` the topic";
    CLUSTER_AUTHORIZATION_FAILED = 31, Denied, "; allow the user `IdempotentWrite` on the cluster, or `Write` on the topic";
    INVALID_TIMESTAMP = 32, Refused, "; set `message.timestamp.type=LogAppendTime` for the topic, or raise `message.timestamp.before.max.ms` or `message.timestamp.after.max.ms`";
    UNSUPPORTED_SASL_MECHANISM = 33, Denied, "; choose a mechanism of the option `sasl` that the broker offers";
    ILLEGAL_SASL_STATE = 34, Denied, "; this port uses no login: remove the option `sasl`, or correct the port";
    UNSUPPORTED_VERSION = 35, Denied, "; tapfan needs Kafka 2.1 or later";
    NOT_CONTROLLER = 41, Later, "";
    INVALID_REQUEST = 42, Denied, "; see the broker's log";
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, Denied, "; set `message.format.version` of the topic to 0.11 or later";
    POLICY_VIOLATION = 44, Refused, "; see the policy of the broker";
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, Forgotten, "";
    DUPLICATE_SEQUENCE_NUMBER = 46, Stored, "";
    INVALID_PRODUCER_EPOCH = 47, Forgotten, "";
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, Denied, "; see the broker's log";
    SECURITY_DISABLED = 54, Denied, "; see the broker's log";
    KAFKA_STORAGE_ERROR = 56, Moved, "; is the disk of the broker full, or broken?";
    SASL_AUTHENTICATION_FAILED = 58, Denied, "; check the user and the password of the option `sasl`";
    UNKNOWN_PRODUCER_ID = 59, Forgotten, "";
    FENCED_LEADER_EPOCH = 74, Moved, "";
    UNKNOWN_LEADER_EPOCH = 75, Moved, "";
    UNSUPPORTED_COMPRESSION_TYPE = 76, Denied, "; choose another `compression`";
    OFFSET_NOT_AVAILABLE = 78, Later, "";
    INVALID_RECORD = 87, Refused, "; is the topic compacted? Then set `cleanup.policy=delete` for the topic";
    UNSTABLE_OFFSET_COMMIT = 88, Later, "";
    THROTTLING_QUOTA_EXCEEDED = 89, Later, "";
    PRODUCER_FENCED = 90, Forgotten, "";
    UNKNOWN_TOPIC_ID = 100, Moved, "";
    INELIGIBLE_REPLICA = 107, Moved, "";
}

impl ErrorCode {
    /// Returns whether a batch was refused because of its size, so that smaller batches may be stored.
    pub(super) fn is_of_size(self) -> bool {
        matches!(self, Self::MESSAGE_TOO_LARGE | Self::RECORD_LIST_TOO_LARGE)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}{}", self.hint()),
            None => write!(f, "error {}{}", self.0, self.hint()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_code_says_what_to_do() {
        let large = ErrorCode::MESSAGE_TOO_LARGE;
        insta::assert_snapshot!(large, @"MESSAGE_TOO_LARGE; raise `max.message.bytes` of the topic");
        insta::assert_snapshot!(ErrorCode(1234), @"error 1234; see the broker's log");
        assert_eq!(ErrorCode(1234).meaning(), Meaning::Later);
        assert_eq!(ErrorCode(46).meaning(), Meaning::Stored);
    }
}
