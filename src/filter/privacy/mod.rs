//! Edits of frames for the privacy of clients.
//!
//! The address of the client is in the field `query_address`, except in messages between servers, where this field has
//! the address of the resolver itself. In every message, the EDNS option Client Subnet can also contain the client's
//! address. DNS cookies and the port identify clients, too. All edits except for the removal of fields keep the length
//! of the frame.

mod address;
mod options;
#[cfg(feature = "pseudonym")]
mod pseudonym;

use bytes::BytesMut;

#[cfg(feature = "pseudonym")]
pub use self::pseudonym::{BadKey, Pseudonyms};
use self::{
    address::Edit,
    options::{Code, each_option},
};
use crate::dnstap::{ClientFields, Malformed, MessageFields, MessageType, schema, without_client};

/// The edits of one sink.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Privacy {
    /// The edit of the client's address, in the frame and in the option Client Subnet.
    pub client_address: Option<ClientAddress>,
    /// Sets the addresses of all Client Subnet options to zero.
    pub strip_ecs: bool,
    /// Sets all DNS cookies to zero.
    pub strip_cookie: bool,
}

/// An edit of the client's address.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientAddress {
    /// Keeps the first bits of the address, and sets the others to zero.
    Truncate {
        /// The bits that are kept of an IPv4 address; 32 or more keep all.
        ipv4: u8,
        /// The bits that are kept of an IPv6 address; 128 or more keep all.
        ipv6: u8,
    },
    /// Replaces the address with a pseudonym. Addresses with a common prefix have pseudonyms with a common prefix of the
    /// same length.
    #[cfg(feature = "pseudonym")]
    Pseudonym(std::sync::Arc<Pseudonyms>),
    /// Leaves the address and the port out. The address in a Client Subnet option is set to zero.
    Remove,
}

// === impl Privacy ===

impl Privacy {
    /// Returns whether every frame stays unchanged.
    pub fn is_noop(&self) -> bool {
        self.client_address.is_none() && !self.strip_ecs && !self.strip_cookie
    }

    /// Appends the edited `frame` to `out`.
    ///
    /// # Errors
    /// If the frame is malformed. In that case, `out` may have a part of the frame.
    pub(crate) fn append(
        &self,
        frame: &[u8],
        message_type: MessageType,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let start = out.len();
        // The address in a message of unknown type may be that of a client.
        let has_client = !message_type.is_between_servers();
        match &self.client_address {
            Some(ClientAddress::Remove) if has_client => {
                without_client(frame, ClientFields::PolicyAndAddress, out)?;
            }
            Some(_) => without_client(frame, ClientFields::Policy, out)?,
            None => out.extend_from_slice(frame),
        }
        let frame = out.get_mut(start..).unwrap_or_default();
        let mut fields = MessageFields::default();
        while let Some(field) = fields.next(frame)? {
            let value = frame.get_mut(field.value).unwrap_or_default();
            match field.number {
                schema::QUERY_ADDRESS if has_client => self.edit().apply(value),
                schema::QUERY_MESSAGE | schema::RESPONSE_MESSAGE => self.edit_dns(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the edit of an address in the frame.
    fn edit(&self) -> Edit<'_> {
        self.client_address.as_ref().map_or(Edit::Keep, Edit::of)
    }

    fn edit_dns(&self, octets: &mut [u8]) {
        let subnet = if self.strip_ecs {
            Edit::Zero
        } else {
            self.edit()
        };
        each_option(octets, |code, data| match code {
            Code::ClientSubnet => subnet.apply_to_subnet(data),
            Code::Cookie if self.strip_cookie => data.fill(0),
            Code::Cookie => {}
        });
    }
}
