//! The operator's policy that a server applied to a message.

/// An operator's policy that was applied to a message, for example a rule of a response policy zone (RPZ).
///
/// ```
/// use tapfan::tap::{Policy, PolicyAction, PolicyMatch};
///
/// let policy = Policy::new()
///     .kind("RPZ")
///     .rule(b"\x03bad\x03rpz\x07example\x00")
///     .action(PolicyAction::NxDomain)
///     .matched(PolicyMatch::QName);
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Policy<'a> {
    pub(super) kind: Option<&'a str>,
    pub(super) rule: Option<&'a [u8]>,
    pub(super) action: Option<PolicyAction>,
    pub(super) matched: Option<PolicyMatch>,
    pub(super) value: Option<&'a [u8]>,
}

/// The action that a policy took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyAction {
    /// The response is NXDOMAIN.
    NxDomain = 1,
    /// The answer section is empty.
    NoData = 2,
    /// The response is not altered.
    Pass = 3,
    /// There is no response.
    Drop = 4,
    /// The response over UDP is truncated, so that the client repeats the query over TCP.
    Truncate = 5,
    /// The response contains data from the policy.
    LocalData = 6,
}

/// The part of the exchange that a policy matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyMatch {
    /// The name in the question.
    QName = 1,
    /// The address of the client.
    ClientIp = 2,
    /// An address in the response.
    ResponseIp = 3,
    /// The name of an authoritative server.
    NsName = 4,
    /// The address of an authoritative server.
    NsIp = 5,
}

// === impl Policy ===

impl<'a> Policy<'a> {
    /// Creates a policy without any field.
    pub const fn new() -> Self {
        Self {
            kind: None,
            rule: None,
            action: None,
            matched: None,
            value: None,
        }
    }

    /// Sets `type`: the kind of policy, such as `RPZ`.
    pub const fn kind(mut self, kind: &'a str) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets `rule`: the rule that matched; for RPZ, its owner name in wire format.
    pub const fn rule(mut self, rule: &'a [u8]) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Sets `action`.
    pub const fn action(mut self, action: PolicyAction) -> Self {
        self.action = Some(action);
        self
    }

    /// Sets `match`: the part of the exchange that matched.
    pub const fn matched(mut self, matched: PolicyMatch) -> Self {
        self.matched = Some(matched);
        self
    }

    /// Sets `value`: the value that matched. Its format depends on [`matched`](Self::matched).
    pub const fn value(mut self, value: &'a [u8]) -> Self {
        self.value = Some(value);
        self
    }
}
