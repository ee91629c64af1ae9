//! Parts of the router for the tests, benchmarks, fuzz targets and doc examples of this repository.
//!
//! Any new version may change or remove these parts.

#[cfg(feature = "tls")]
pub use crate::net::server_name;
pub use crate::{
    dnstap::{
        ExtraField, FieldValues, IdentityField, Malformed, Moment, Outline, OwnFields, Protocol,
        RawFrame, RawMessage, Rewrite, message_type, outline, validate,
    },
    extra::{Labels, METADATA_LIMIT, Metadata, Origin, Tapped, Template, VALUE_LIMIT, Value},
    frame_stream::{
        BackChannel, Batch, CONTENT_TYPE, Chunk, Control, ControlError, ControlKind,
        HandshakeError, MAX_CONTROL_LENGTH, Mode, Source, accept, end_request, offer, open, start,
    },
    listener::{Cut, Cutter, End, Unfinished},
    memory::Budget,
    net::{
        Addresses, BindAddress, Counted, Destination, Keepalive, Resolver, Stream, UserTimeout,
        name_server_address, socket_address,
    },
    router::Queues,
};

#[cfg(feature = "cli")]
pub use crate::presentation::in_every_form;

#[cfg(feature = "spool")]
pub mod spool {
    //! The storage engine of a disk spool.

    pub use crate::spool::{
        Appended, Batch, Counters, Entry, Flaw, FlawKind, Folder, Frames, Fs, Inspection,
        LEAST_SEGMENTS, Listed, Missing, Now, Overview, Owner, Piece, Recovered, Remembered,
        Removal, Settings, Spool, SpoolError, Status, Sync, WhenFull,
    };
}

#[cfg(feature = "kafka")]
pub mod kafka {
    //! A producer for a broker that may be hostile.

    pub use crate::kafka::{Conversation, converse, log_in};
}

pub mod filter {
    //! The filters and the privacy options of sinks.

    #[cfg(feature = "pseudonym")]
    pub use crate::filter::{BadKey, Pseudonyms};
    pub use crate::filter::{
        BadList, BadRate, BadRule, BadSample, BadSampleKey, ClientAddress, Filter, Kind, Privacy,
        RateLimit, Sample, SampleKey, Screen, Screened, Verdict,
    };
}
