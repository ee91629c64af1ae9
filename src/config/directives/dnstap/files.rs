//! The options for the files of a sink.

use std::time::Duration;

use super::{
    super::{
        features,
        row::{Row, Scope, Value},
    },
    kafka,
};
use crate::{
    config::{
        Compression, Sink,
        quantity::{Size, Time},
    },
    net::Endpoint,
};

pub(super) const ROTATE: Row<Sink> = Row {
    name: "rotate",
    value: Value::Time(
        Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600),
        |sink, age| sink.files.rotate = Some(age),
    ),
    default: "never",
    doc: "the time after which the next file begins",
    scope: Some(&FILE),
    describe: |sink| Some(Time(sink.files.rotate?).to_string()),
};

pub(super) const SIZE: Row<Sink> = Row {
    name: "size",
    value: Value::Size(64 << 10..=1 << 40, |sink, bytes| {
        sink.files.size = Some(bytes as u64);
    }),
    default: "no limit",
    doc: "the length after which the next file begins",
    scope: Some(&FILE),
    describe: |sink| Some(Size(sink.files.size?).to_string()),
};

pub(super) const KEEP_FILES: Row<Sink> = Row {
    name: "keep_files",
    value: Value::Number(1..=1_000_000, |sink, files| sink.files.keep = Some(files)),
    default: "all",
    doc: "how many files are kept; the oldest ones are deleted",
    scope: Some(&FILE),
    describe: |sink| Some(format!("{} files", sink.files.keep?)),
};

pub(super) const COMPRESS: Row<Sink> = Row {
    name: "compress",
    value: Value::One("none|zstd", |sink, given, findings| {
        sink.files.compress = given.choice(Compression::ALL, Compression::label, findings)?;
        if sink.files.compress == Compression::Zstd {
            features::check_zstd(given.value, findings);
        }
        Some(())
    }),
    default: "none",
    doc: "the compression of the files",
    scope: Some(&FILE),
    describe: |sink| Some(sink.files.compress.label().to_owned()),
};

const FILE: Scope<Sink> = Scope {
    name: "`file://` sinks",
    applies: |sink| matches!(sink.endpoint, Endpoint::File(_)),
    misplaced: |sink, given, socket| {
        let name = given.name.text.as_str();
        let message = format!("`{name}` is for {}", FILE.name);
        let problem = given.name.error(message, "it has no meaning here");
        let problem = problem.at(socket.span, "this sink writes no files");
        if name == "compress" && kafka::writes_records(sink) {
            let help = "for records, the option is `compression`".to_owned();
            return given.name.propose(problem, help, "compression");
        }
        problem.help("remove it, or make the SOCKET `file:///folder/name`")
    },
};
