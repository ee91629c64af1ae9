//! Records as Kafka's own client returns them.

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: u32,
    /// The time of the record, in milliseconds since 1970.
    pub(crate) timestamp: u64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// The unread rest of the file that the client wrote.
struct Rest<'a>(&'a [u8]);

// === impl Record ===

impl Record {
    /// Parses the file that the client wrote.
    pub(crate) fn parse_all(bytes: &[u8]) -> Vec<Self> {
        let mut rest = Rest(bytes);
        let mut records = Vec::new();
        while !rest.0.is_empty() {
            records.push(Self::parse(&mut rest));
        }
        records
    }

    fn parse(rest: &mut Rest<'_>) -> Self {
        let partition = u32::from_be_bytes(rest.array());
        let _offset: [u8; 8] = rest.array();
        let timestamp = u64::from_be_bytes(rest.array());
        let key = rest.bytes();
        let value = rest.bytes().expect("a record has a value");
        let headers = u32::from_be_bytes(rest.array());
        let header = |_| {
            let name = String::from_utf8(rest.bytes()?).expect("text");
            Some((name, rest.bytes()?))
        };
        Self {
            partition,
            timestamp,
            key,
            value,
            headers: (0..headers).filter_map(header).collect(),
        }
    }
}

// === impl Rest ===

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self.0.split_first_chunk().expect("a whole file");
        self.0 = rest;
        *array
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(i32::from_be_bytes(self.array())).ok()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes.to_vec())
    }
}

#[test]
fn records_are_parsed() {
    let bytes = [
        &3_u32.to_be_bytes()[..],
        &7_u64.to_be_bytes(),
        &1000_u64.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        b"\0\0\0\x02hi",
        b"\0\0\0\x01\0\0\0\x01a\0\0\0\x01b",
    ]
    .concat();
    let record = Record {
        partition: 3,
        timestamp: 1000,
        key: None,
        value: b"hi".to_vec(),
        headers: vec![("a".to_owned(), b"b".to_vec())],
    };
    assert_eq!(
        Record::parse_all(&bytes.repeat(2)),
        vec![record.clone(), record]
    );
}
