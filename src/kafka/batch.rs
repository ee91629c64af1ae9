//! Record batches in the format of Kafka 0.11 and later ("version 2").
//!
//! ```text
//! base offset 8 │ length 4 │ leader epoch 4 │ magic 1 │ CRC 4 │ attributes 2 │ last offset 4 │ first time 8 │
//! last time 8 │ producer id 8 │ producer epoch 2 │ sequence 4 │ records 4 │ record, record, …
//! ```

use std::{io, sync::Arc};

use super::{
    Compression, ProducerId,
    codec::{put_varint, split_varint, varint_length},
};

/// The headers that all records of a sink have, in encoded form.
#[derive(Debug, Clone)]
pub(crate) struct Headers(Arc<[u8]>);

/// A record to append to a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
}

/// Records in encoded form, in one buffer. The header of the batch is at the beginning of the buffer.
#[derive(Debug, Clone)]
pub(super) struct Records {
    buffer: Vec<u8>,
    count: i32,
    first_timestamp: i64,
    last_timestamp: i64,
}

/// The producer id and the sequence number of a batch. A broker stores only the first of several batches with the same
/// stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer: ProducerId,
    /// The sequence number of the first record.
    pub(super) sequence: i32,
}

/// The size of the header of a batch.
pub(super) const HEADER: usize = 61;

/// The bytes up to and including the length field, which the length does not count.
const BEFORE_LENGTH: usize = 8 + 4;

/// The offset of the CRC. It covers all bytes after it.
const CRC: usize = 17;

const MAGIC: u8 = 2;

/// The record's attributes. No attribute is defined.
const ATTRIBUTES: u8 = 0;

// === impl Headers ===

impl Headers {
    pub(crate) fn new(headers: &[(&str, &str)]) -> Self {
        let mut encoded = Vec::new();
        put_length(&mut encoded, headers.len());
        for (key, value) in headers {
            for text in [key, value] {
                put_length(&mut encoded, text.len());
                encoded.extend(text.as_bytes());
            }
        }
        Self(encoded.into())
    }
}

// === impl Records ===

impl Records {
    /// Creates a batch without records, with memory for `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity.max(HEADER));
        buffer.resize(HEADER, 0);
        Self {
            buffer,
            count: 0,
            first_timestamp: 0,
            last_timestamp: 0,
        }
    }

    /// Returns a batch without records that uses the memory of this one.
    pub(super) fn emptied(self) -> Self {
        let mut buffer = self.buffer;
        buffer.truncate(HEADER);
        Self {
            buffer,
            count: 0,
            first_timestamp: 0,
            last_timestamp: 0,
        }
    }

    /// Returns the number of records.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    /// Returns the size of the batch in bytes, without compression.
    pub(super) fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the memory of the batch.
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Returns an upper bound on the size of a record in a batch.
    pub(super) fn size_of(record: &Record<'_>, headers: &Headers) -> usize {
        /// The attributes, and the longest forms of the times and lengths.
        const OVERHEAD: usize = 1 + 10 + 4 * 5;
        let key = record.key.map_or(0, <[u8]>::len);
        OVERHEAD + key + record.value.len() + headers.0.len()
    }

    /// Appends a record. If the buffer has no room for it, the buffer's memory doubles.
    pub(super) fn append(&mut self, record: &Record<'_>, headers: &Headers) {
        if self.count == 0 {
            self.first_timestamp = record.timestamp;
            self.last_timestamp = record.timestamp;
        }
        self.last_timestamp = self.last_timestamp.max(record.timestamp);
        let time = record.timestamp.wrapping_sub(self.first_timestamp);
        let offset = self.count.into();
        let key = record.key.map_or(-1, length);
        let value = length(record.value);
        let size = 1
            + varint_length(time)
            + varint_length(offset)
            + varint_length(key)
            + record.key.map_or(0, <[u8]>::len)
            + varint_length(value)
            + record.value.len()
            + headers.0.len();
        let buffer = &mut self.buffer;
        put_length(buffer, size);
        buffer.push(ATTRIBUTES);
        put_varint(buffer, time);
        put_varint(buffer, offset);
        put_varint(buffer, key);
        buffer.extend_from_slice(record.key.unwrap_or_default());
        put_varint(buffer, value);
        buffer.extend_from_slice(record.value);
        buffer.extend_from_slice(&headers.0);
        self.count += 1;
    }

    /// Calls `each` for every record, in order.
    pub(super) fn each(&self, mut each: impl FnMut(Record<'_>)) {
        let mut rest = &self.buffer[HEADER..];
        // `append` wrote these records, so `split_record` can read them.
        while let Some((record, after)) = self.split_record(rest) {
            each(record);
            rest = after;
        }
    }

    fn split_record<'a>(&self, bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let (size, rest) = split_varint(bytes)?;
        let (record, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        let (_attributes, record) = record.split_first()?;
        let (time, record) = split_varint(record)?;
        let (_offset, record) = split_varint(record)?;
        let (key, record) = split_varint(record)?;
        let (key, record) = match usize::try_from(key) {
            Ok(length) => {
                let (key, record) = record.split_at_checked(length)?;
                (Some(key), record)
            }
            Err(_) => (None, record),
        };
        let (value, record) = split_varint(record)?;
        let value = record.get(..usize::try_from(value).ok()?)?;
        let timestamp = self.first_timestamp.wrapping_add(time);
        let record = Record {
            timestamp,
            key,
            value,
        };
        Some((record, after))
    }

    /// Completes the header. Returns the batch in the form in which it is sent; it is in `compressed` if `compression` is
    /// on.
    pub(super) async fn seal<'a>(
        &'a mut self,
        stamp: Stamp,
        compression: Compression,
        compressed: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        let (count, first, last) = (self.count, self.first_timestamp, self.last_timestamp);
        let batch = if compression == Compression::None {
            &mut self.buffer
        } else {
            compressed.clear();
            compressed.resize(HEADER, 0);
            let records = &self.buffer[HEADER..];
            compression.compress(records, compressed).await?;
            compressed
        };
        let mut header = [0; HEADER];
        let mut rest = header.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (field, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            field.copy_from_slice(bytes);
            rest = after;
        };
        let length = i32::try_from(batch.len() - BEFORE_LENGTH).unwrap_or(i32::MAX);
        put(&0_i64.to_be_bytes());
        put(&length.to_be_bytes());
        put(&(-1_i32).to_be_bytes());
        put(&[MAGIC]);
        put(&0_u32.to_be_bytes());
        put(&compression.id().to_be_bytes());
        put(&(count - 1).to_be_bytes());
        put(&first.to_be_bytes());
        put(&last.to_be_bytes());
        put(&stamp.producer.id.to_be_bytes());
        put(&stamp.producer.epoch.to_be_bytes());
        put(&stamp.sequence.to_be_bytes());
        put(&count.to_be_bytes());
        batch[..HEADER].copy_from_slice(&header);
        let crc = crc32c::crc32c(&batch[CRC + 4..]);
        batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
        Ok(batch)
    }
}

/// Returns the sequence number after `count` records. After the largest number comes zero.
pub(super) fn sequence_after(sequence: i32, count: i32) -> i32 {
    let next = i64::from(sequence) + i64::from(count);
    i32::try_from(next & i64::from(i32::MAX)).unwrap_or_default()
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn put_length(buffer: &mut Vec<u8>, length: usize) {
    put_varint(buffer, i64::try_from(length).unwrap_or(i64::MAX));
}
