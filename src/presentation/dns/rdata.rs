//! The text of records. A table has a row for each record type, and the row lists the fields of the record's data.

use super::{
    edns, fields,
    fields::Field::{
        self, A, Aaaa, Algorithm, Bare, Base64, Bitmap, CertificateType, Eui, Hash, Hex, Locator,
        LongHex, LongTime, Name, Names, Node, Octets, Quoted, Salt, SizedHex, SizedUpperHex,
        Strings, Time, Type, U8, U16, U32, UpperHex,
    },
    location, svcb,
};
use crate::{
    dns::{self, Record, Unreadable, mnemonics},
    presentation::digits,
};

/// One or more record types that have the same data format.
struct Row {
    types: &'static [u16],
    data: Data,
}

/// The form of record data.
enum Data {
    /// Fields, written with a space between them.
    Fields(&'static [Field]),
    /// Fields of a type that has no format for zone files. The line of such a record is written as a comment.
    Comment(&'static [Field]),
    /// A host identity (RFC 8005). The lengths of all its parts come first.
    HostIdentity,
    /// Service bindings (RFC 9460).
    Service,
    /// Address prefixes (RFC 3123).
    Prefixes,
    /// A location (RFC 1876).
    Location,
    /// TSIG, written below a title (RFC 8945).
    Signature,
    /// Bytes without any structure.
    Null,
    /// EDNS options of an OPT record that is in the answer or authority section, although OPT records do not belong
    /// there.
    Options,
}

/// The record type OPT.
pub(in crate::presentation) const OPT: u16 = 41;

const fn row(types: &'static [u16], fields: &'static [Field]) -> Row {
    Row {
        types,
        data: Data::Fields(fields),
    }
}

const fn special(record_type: &'static [u16], data: Data) -> Row {
    Row {
        types: record_type,
        data,
    }
}

/// The types with a special format. Every other type is written in the format of RFC 3597.
#[rustfmt::skip] // One row a line.
static ROWS: &[Row] = &[
    row(&[1], &[A]),                                               // A
    row(&[28], &[Aaaa]),                                           // AAAA
    row(&[2, 3, 4, 5, 7, 8, 9, 12, 23, 39], &[Name]),              // NS MD MF CNAME MB MG MR PTR NSAP-PTR DNAME
    row(&[6], &[Name, Name, U32, U32, U32, U32, U32]),             // SOA
    row(&[14, 17, 58], &[Name, Name]),                             // MINFO RP TALINK
    row(&[15, 18, 21, 36, 107], &[U16, Name]),                     // MX AFSDB RT KX LP
    row(&[26], &[U16, Name, Name]),                                // PX
    row(&[16, 56, 99, 258], &[Strings]),                           // TXT NINFO SPF AVC
    row(&[13], &[Quoted, Quoted]),                                 // HINFO
    row(&[100], &[Quoted]),                                        // UINFO
    row(&[19], &[Bare]),                                           // X25
    row(&[27], &[Bare, Bare, Bare]),                               // GPOS
    row(&[33], &[U16, U16, U16, Name]),                            // SRV
    row(&[35], &[U16, U16, Quoted, Quoted, Quoted, Name]),         // NAPTR
    row(&[37], &[CertificateType, U16, Algorithm, Base64]),        // CERT
    row(&[24, 46], &[Type, U8, U8, U32, Time, Time, U16, Name, Base64]), // SIG RRSIG
    row(&[25, 48, 57, 60], &[U16, U8, U8, Base64]),                // KEY DNSKEY RKEY CDNSKEY
    row(&[43, 59, 32768, 32769], &[U16, U8, U8, UpperHex]),        // DS CDS TA DLV
    row(&[44], &[U8, U8, UpperHex]),                               // SSHFP
    row(&[47], &[Name, Bitmap]),                                   // NSEC
    row(&[50], &[U8, U8, U16, Salt, Hash, Bitmap]),                // NSEC3
    row(&[51], &[U8, U8, U16, Salt]),                              // NSEC3PARAM
    row(&[52], &[U8, U8, U8, Hex]),                                // TLSA
    row(&[53], &[U8, U8, U8, LongHex]),                            // SMIMEA
    row(&[49, 61], &[Base64]),                                     // DHCID OPENPGPKEY
    row(&[62], &[U32, U16, Bitmap]),                               // CSYNC
    row(&[63], &[U32, U8, U8, Hex]),                               // ZONEMD
    row(&[31, 32], &[UpperHex]),                                   // EID NIMLOC
    row(&[101, 102], &[U32]),                                      // UID GID
    row(&[104], &[U16, Node]),                                     // NID
    row(&[105], &[U16, A]),                                        // L32
    row(&[106], &[U16, Locator]),                                  // L64
    row(&[108], &[Eui(6)]),                                        // EUI48
    row(&[109], &[Eui(8)]),                                        // EUI64
    row(&[256], &[U16, U16, Octets]),                              // URI
    row(&[257], &[U8, Bare, Octets]),                              // CAA
    row(&[255], &[]),                                              // ANY
    special(&[249], Data::Comment(&[Name, Time, Time, U16, U16, SizedHex, SizedHex])), // TKEY
    special(&[10], Data::Null),
    special(&[29], Data::Location),
    special(&[OPT], Data::Options),
    special(&[42], Data::Prefixes),
    special(&[55], Data::HostIdentity),
    special(&[64, 65], Data::Service),                             // SVCB HTTPS
    special(&[250], Data::Signature),
];

/// The fields of a TSIG record (RFC 8945, section 4.2).
const SIGNATURE: &[Field] = &[Name, LongTime, U16, SizedUpperHex, U16, U16, SizedHex];

/// Appends `record` as one line, without a newline.
///
/// # Errors
/// If the data of the record does not have the format that its type requires.
pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    match data_of(record.rtype) {
        None => write_unknown_head(record, out),
        // An OPT record is written below a title, and without its owner name.
        Some(Data::Options) => {}
        Some(Data::Comment(_)) => {
            out.push(b';');
            write_head(record, out);
            out.push(b' ');
        }
        Some(Data::Null) => {
            out.push(b';');
            write_head(record, out);
        }
        Some(Data::Signature) => {
            out.extend_from_slice(b"\n;; TSIG PSEUDOSECTION:\n; ");
            write_head(record, out);
            out.push(b' ');
        }
        Some(_) => write_head(record, out),
    }
    write_data(record, out)
}

/// Appends the data of `record`.
///
/// # Errors
/// If the data does not have the format that the type requires.
pub(in crate::presentation) fn write_data(
    record: &Record<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    let mut parser = record.data;
    match data_of(record.rtype) {
        None | Some(Data::Null) => write_opaque(fields::rest(&mut parser), out),
        Some(Data::Fields(fields) | Data::Comment(fields)) => {
            write_fields(fields, &mut parser, out)?;
        }
        Some(Data::Signature) => write_fields(SIGNATURE, &mut parser, out)?,
        Some(Data::Options) => {
            fields::rest(&mut parser);
            edns::write(record, out)?;
        }
        Some(Data::HostIdentity) => write_host_identity(&mut parser, out)?,
        Some(Data::Service) => svcb::write(&mut parser, out)?,
        Some(Data::Prefixes) => location::write_prefixes(&mut parser, out)?,
        Some(Data::Location) => location::write(&mut parser, out)?,
    }
    if parser.remaining() > 0 {
        let why = "the record is longer than its fields";
        return Err(Unreadable::data(parser.pos(), why));
    }
    Ok(())
}

fn data_of(record_type: u16) -> Option<&'static Data> {
    let row = ROWS.iter().find(|row| row.types.contains(&record_type));
    row.map(|row| &row.data)
}

/// Appends owner, TTL, class and type, with a tab after each of them.
fn write_head(record: &Record<'_>, out: &mut Vec<u8>) {
    dns::name::write(&record.owner, out);
    out.push(b'\t');
    digits::number(record.ttl, out);
    out.push(b'\t');
    mnemonics::class(record.class).write(out);
    out.push(b'\t');
    mnemonics::record_type(record.rtype).write(out);
    out.push(b'\t');
}

fn write_fields(
    fields: &[Field],
    parser: &mut dns::Parser<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        let before = out.len();
        field.write(parser, out)?;
        let may_be_absent = matches!(field, A | Bitmap | Names);
        if place > 0 && may_be_absent && out.len() == before {
            out.pop();
        }
    }
    Ok(())
}

fn write_host_identity(parser: &mut dns::Parser<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    if parser.remaining() == 0 {
        out.extend_from_slice(b"0  ");
        return Ok(());
    }
    let (hit, algorithm, key) = (
        fields::u8(parser)?,
        fields::u8(parser)?,
        fields::u16(parser)?,
    );
    digits::number(algorithm, out);
    out.push(b' ');
    digits::hex(fields::bytes(parser, hit.into())?, out);
    out.push(b' ');
    digits::base64(fields::bytes(parser, key.into())?, out);
    if parser.remaining() > 0 {
        out.push(b' ');
        Names.write(parser, out)?;
    }
    Ok(())
}

/// Appends the start of the line for a record whose type has no row (RFC 3597, section 5).
fn write_unknown_head(record: &Record<'_>, out: &mut Vec<u8>) {
    dns::name::write(&record.owner, out);
    out.push(b'\t');
    digits::number(record.ttl, out);
    out.extend_from_slice(b"\tCLASS");
    digits::number(record.class, out);
    out.extend_from_slice(b"\tTYPE");
    digits::number(record.rtype, out);
    out.push(b'\t');
}

fn write_opaque(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\# ");
    digits::number(bytes.len(), out);
    out.push(b' ');
    digits::hex(bytes, out);
}

/// Returns the record types that have a row.
#[cfg(test)]
pub(super) fn types() -> impl Iterator<Item = u16> {
    ROWS.iter().flat_map(|row| row.types).copied()
}
