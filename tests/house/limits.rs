//! Tests that the documents state the same deadlines and limits as the source code.
//!
//! Each number that a document repeats from the source code is checked here. The bounds and defaults of options are
//! checked in `src/config/directives` instead.

use std::time::Duration;

use crate::{
    assert_none,
    constants::{Constants, Time},
    source::sources,
    tables::{rows, section},
    tree::read,
};

/// Names of rows in the guide's table of limits. The limits in these rows are not constants in the source code. Each
/// item has the reason for that.
const WITHOUT_A_CONSTANT: &[(&str, &str)] = &[
    ("open file descriptors", "the operating system's limit"),
    (
        "the send buffer",
        "an option, and the operating system's limit",
    ),
];

const ATTEMPT: &str = "src/sink/connect/dial.rs";
const RACE: &str = "src/sink/connect/race.rs";
const FILES: &str = "src/sink/file/mod.rs";
const BACKOFF: &str = "src/sink/backoff.rs";
const LOG: &str = "src/cli/log/mod.rs";
const LOG_QUEUE: &str = "src/cli/log/queue.rs";

#[test]
fn the_guides_table_of_limits_is_complete_and_right() {
    let constants = Constants::read();
    let mut claims = limits_of_sinks(&constants);
    claims.extend(other_limits(&constants));
    let guide = read("docs/guide.md");
    let mut rows = rows(section(&guide, "## Limits and deadlines"));
    let mut problems = Vec::new();
    for (name, claim) in claims {
        match rows.iter().position(|row| row[0] == name) {
            None => problems.push(format!("there is no row \"{name}\": add it")),
            Some(place) => {
                let content = &rows.remove(place)[1];
                if !content.starts_with(&claim) {
                    problems.push(format!(
                        "\"{name}\" must begin \"{claim}\", not \"{content}\""
                    ));
                }
            }
        }
    }
    rows.retain(|row| WITHOUT_A_CONSTANT.iter().all(|(name, _)| row[0] != *name));
    for row in rows {
        problems.push(format!(
            "\"{}\" has no line in tests/house/limits.rs: add it",
            row[0]
        ));
    }
    assert_none(
        &problems,
        "Correct \"Limits and deadlines\" in docs/guide.md as said.",
    );
}

/// Returns the rows about sinks that the guide's table of limits must have. Each item is the name of a row and the
/// beginning of its limit.
fn limits_of_sinks(of: &Constants) -> Vec<(&'static str, String)> {
    let at_once = of.count(RACE, "AT_ONCE");
    let each = of.count("src/sink/descriptors.rs", "PER_ENDPOINT");
    let lookup = of.count("src/sink/descriptors.rs", "LOOKUP");
    let descriptors = format!(
        "{} for each sink without a name to look up, {} for each sink with a name, {} for each sink with `endpoints \
         balance` or `all`, {} for reloads, {} for the admin endpoint.",
        each + 1,
        each + at_once + lookup,
        each * of.count("src/sink/endpoints", "ENDPOINTS_AT_MOST") + lookup,
        of.count("src/supervisor/descriptors.rs", "RELOAD"),
        of.count("src/net/descriptors.rs", "ADMIN"),
    );
    let attempt = of.time(ATTEMPT, "DEADLINE");
    let opening = of.count("src/sink/descriptors.rs", "OPENING_AT_MOST");
    let delay = of.time(RACE, "DELAY");
    let finish = of.time("src/sink/connect", "FINISH_DEADLINE");
    vec![
        ("file descriptors that senders cannot use", descriptors),
        (
            "lookup, dial, TLS, handshake with a collector",
            format!("{attempt} each"),
        ),
        (
            "collectors of a `dnstap listen` sink that are in their handshakes",
            format!("{opening}; further connections wait in the kernel"),
        ),
        (
            "brokers to which a Kafka sink is connected",
            format!(
                "{}; it is an error",
                of.count("src/sink/descriptors.rs", "BROKERS_AT_MOST")
            ),
        ),
        (
            "the lookup of a Kafka topic's leaders",
            of.time("src/sink/kafka/lookup.rs", "DEADLINE").to_string(),
        ),
        (
            "addresses of a name that are tried at a time",
            format!("{at_once}; each attempt starts {delay} after the previous one"),
        ),
        (
            "the wait for FINISH of a collector",
            format!(
                "{finish} after it last took data. If it took data for more than {finish} after STOP"
            ),
        ),
        (
            "the old stream of a changed sink",
            of.time("src/supervisor", "HANDOVER").to_string(),
        ),
        (
            "a replaced connection",
            of.time("src/sink/reconnect", "LAST_WORDS").to_string(),
        ),
        (
            "opening a file",
            of.time(FILES, "OPEN_DEADLINE").to_string(),
        ),
        (
            "files of a sink that wait for the file system",
            of.count(FILES, "THREADS").to_string(),
        ),
    ]
}

fn other_limits(of: &Constants) -> Vec<(&'static str, String)> {
    let (quiet, patience) = (
        of.time("src/cli/watch.rs", "QUIET"),
        of.time("src/cli/watch.rs", "PATIENCE"),
    );
    let handshake = of.time("src/config/model.rs", "HANDSHAKE_DEADLINE");
    let (dial, patient) = (
        of.time(ATTEMPT, "DEADLINE"),
        of.time("src/config/remote.rs", "PATIENT_DEADLINE"),
    );
    let leave = of.time("src/listener", "LEAVE_AFTER");
    let stall = of.time("src/listener", "STALL_DEADLINE");
    let keepalive = |field| of.field("src/net/socket.rs", field);
    let lost = keepalive("idle") + keepalive("interval") * keepalive("probes");
    let lost = Time(Duration::from_millis(lost));
    let request_to_end = of.time("src/listener", "REQUEST_DEADLINE");
    let waiting = of.size(LOG_QUEUE, "LIMIT");
    let (idle, at_most) = (of.time(LOG, "IDLE"), of.time(LOG, "AT_MOST"));
    let request = of.time("src/cli/remote/client.rs", "DEADLINE");
    let answer = of.size("src/cli/remote/client.rs", "LONGEST");
    vec![
        (
            "the time from a change of a file to the reload",
            format!("{quiet} after the last change, or {patience} after the first change"),
        ),
        ("TLS, handshake with a sender", format!("{handshake} each")),
        (
            "dial, TLS, handshake with a server of `connect`",
            format!("{dial}, {dial} and {patient}"),
        ),
        (
            "a server of `connect` after the half-close of a drain",
            format!("{leave}, then tapfan closes the connection"),
        ),
        (
            "silence of a sender",
            format!(
                "{stall} within a frame, unlimited between frames; after {lost}, TCP keepalive notices that the \
                 machine of a sender is gone"
            ),
        ),
        (
            "the end of a stream with `confirm finish`, after a drain has asked its sender (another tapfan) to end it",
            format!("{request_to_end}, then tapfan closes its side"),
        ),
        (
            "log lines waiting for stderr",
            format!("{waiting}, and as much"),
        ),
        (
            "the last log lines at exit",
            format!("{idle} without progress, {at_most} in all"),
        ),
        (
            "a request of `status` and `top`",
            format!("{request} from the lookup to the last byte; {answer}"),
        ),
    ]
}

/// A document, and the required sentences that are missing from it.
struct Document {
    path: &'static str,
    /// The text of the document, in which each sequence of spaces and line breaks is a single space.
    text: String,
    missing: Vec<String>,
}

#[test]
fn the_guide_has_the_limits_of_sinks() {
    let of = Constants::read();
    let mut guide = Document::read("docs/guide.md");

    let steady = of.time("src/sink/reconnect", "STEADY");
    guide.says(format!(
        "only a connection that lasts {steady} ends the outage"
    ));
    let (first, longest) = (of.time(BACKOFF, "MIN"), of.time(BACKOFF, "MAX"));
    guide.says(format!("The step is {first} at first"));
    guide.says(format!("but at most {longest}. A collector that was away"));
    let steps = of.count(BACKOFF, "AGE_PER_STEP");
    guide.says(format!("is found again within 1/{steps} s"));
    guide.says(format!("is tried every {} on average", Time(longest.0 / 2)));

    let (attempt, delay) = (of.time(ATTEMPT, "DEADLINE"), of.time(RACE, "DELAY"));
    let at_once = word(of.count(RACE, "AT_ONCE"));
    guide.says(format!(
        "| {attempt}; another address is tried after {delay} |"
    ));
    guide.says(format!(
        "has taken {delay}. At most {at_once} attempts run at a time"
    ));
    guide.says(format!(
        "each has {attempt} for connecting, {attempt} for TLS and {attempt} for"
    ));

    let finish = of.time("src/sink/connect", "FINISH_DEADLINE");
    guide.says(format!("| {finish} after it last took data; [longer]"));
    guide.says(format!(
        "if the collector takes nothing for {finish}, tapfan closes the connection."
    ));
    guide.says(format!(
        "went on taking data for more than {finish} after STOP"
    ));
    let handover = of.time("src/supervisor", "HANDOVER");
    guide.says(format!("tapfan cuts it after {handover}."));
    let cuts = word(of.count("src/router", "CUTS_ALLOWED"));
    guide.says(format!(
        "{cuts} connections in a row ended in the middle of this frame"
    ));
    guide.check();
}

#[test]
fn the_page_about_kafka_has_the_limits_of_its_sinks() {
    let of = Constants::read();
    let mut page = Document::read("docs/kafka.md");
    let batch = of.size("src/kafka/producer/mod.rs", "BATCH_BYTES");
    page.says(format!(
        "A batch leaves when it is nearly full ({batch}), or"
    ));
    let grow = of.time("src/kafka/producer/limit.rs", "GROW_AFTER");
    page.says(format!("It tries a larger one {grow} later"));
    let ahead = of.time("src/sink/kafka/records.rs", "AHEAD_AT_MOST");
    page.says(format!("more than {ahead} ahead of the clock of tapfan"));
    let session = "src/sink/kafka/session.rs";
    let memory = of.size(session, "BYTES");
    page.says(format!(
        "Up to {memory} of frames and batches wait for the answers"
    ));
    let part = of.count(session, "PARTS_OF_LIMIT");
    page.says(format!("it is at most 1/{part} of the limit"));
    let age = of.time("src/sink/kafka/lookup.rs", "METADATA_AGE");
    page.says(format!("tapfan uses them after at most {age}"));
    page.says(format!("When they use {memory}, the sink takes no more"));
    let grace = of.time("src/sink/kafka/condition.rs", "GRACE");
    page.says(format!(
        "has had no connected leader for {grace}, the state"
    ));
    page.check();

    let descriptors = |name| of.count("src/sink/descriptors.rs", name);
    let mut guide = Document::read("docs/guide.md");
    let attempts = of.count(RACE, "AT_ONCE");
    guide.says(format!(
        "A Kafka sink reserves {}.",
        descriptors("BROKERS_AT_MOST") + attempts * (attempts + descriptors("LOOKUP"))
    ));
    guide.check();
}

#[test]
fn the_guide_has_the_limits_of_listeners_and_memory() {
    let of = Constants::read();
    let mut guide = Document::read("docs/guide.md");

    let overhead = of.count("src/frame_stream/chunk/mod.rs", "OVERHEAD");
    guide.says(format!("each chunk with {overhead} bytes."));
    let real = of.count("src/frame_stream/chunk/mod.rs", "REAL_OVERHEAD");
    guide.says(format!("and {real} bytes for each chunk"));
    let free = of.size("src/listener/unfinished.rs", "FREE");
    guide.says(format!(
        "do not count against `unfinished_frames`: up to {free} for each connection"
    ));
    guide.says(format!("unfinished_frames + {free} × connections + 2"));
    guide.says(format!("value of `memory` + {free} × connections + 1"));

    let handshake = of.time("src/config/model.rs", "HANDSHAKE_DEADLINE");
    guide.says(format!(
        "| the TLS handshake failed or took over {handshake}:"
    ));
    guide.says(format!(
        "| the Frame Streams handshake took over {handshake} |"
    ));
    let stall = of.time("src/listener", "STALL_DEADLINE");
    guide.says(format!(
        "| a frame was still incomplete {stall} after it began |"
    ));
    let in_a_row = of.count("src/frame_stream/allowance.rs", "IN_A_ROW");
    guide.says(format!("more than {in_a_row} `control` frames in a row"));
    let lines = word(of.count("src/listener", "LINES"));
    let window = of.time("src/listener", "WINDOW");
    guide.says(format!("at most {lines} refusals in {window} and then"));
    let pause = of.time("src/listener", "LONGEST_PAUSE");
    guide.says(format!(
        "tapfan retries at least every {pause}, and immediately on SIGHUP"
    ));
    guide.check();
}

#[test]
fn the_guide_has_the_limits_of_files_and_the_page() {
    let of = Constants::read();
    let mut guide = Document::read("docs/guide.md");
    let behind = of.time("src/admin/verdict.rs", "BEHIND");
    guide.says(format!("holds a frame older than {behind}."));
    let pages = of.count("src/admin/live.rs", "PLACES");
    guide.says(format!(
        "At most {pages} pages can show a router at the same time"
    ));
    let (warning, deadline) = (
        of.time("src/files/reader.rs", "WARN_AFTER"),
        of.time("src/files/reader.rs", "DEADLINE"),
    );
    guide.says(format!(
        "After {warning} the log names the file, and after {deadline} the reload is refused"
    ));
    guide.says(format!(
        "does not answer within {deadline}, the command exits with status 2"
    ));
    let hosts = of.time("src/net/resolve/dns/system.rs", "DEADLINE");
    guide.says(format!(
        "In each lookup of a name, tapfan waits up to {hosts} for `/etc/resolv.conf`"
    ));
    let same = of.time("src/cli/signals.rs", "SAME_REQUEST");
    guide.says(format!(
        "SIGTERM or SIGINT within {same} of the previous one is the same request"
    ));
    guide.says(format!(
        "expire within {} days",
        of.time("src/net/tls/validity.rs", "SOON").days()
    ));
    guide.check();
}

#[test]
fn the_reference_has_the_limits_of_the_admin_endpoint() {
    let of = Constants::read();
    let mut reference = Document::read("docs/reference.md");
    let serve = "src/admin/serve.rs";
    reference.says(format!(
        "serves at most {} connections.",
        of.count(serve, "CONNECTIONS")
    ));
    let (head, size) = (
        of.time(serve, "HEAD_DEADLINE"),
        of.size(serve, "HEAD_LIMIT"),
    );
    reference.says(format!(
        "must arrive within {head} and be at most {size} long"
    ));
    let write = of.time(serve, "WRITE_DEADLINE");
    reference.says(format!("takes nothing of its response for {write} is cut"));
    reference.says(format!("cut {write} after that buffer is full"));
    let stuck = of.time("src/admin", "ALLOWED");
    reference.says(format!("a worker that has run tasks for {stuck} without"));
    let behind = of.time("src/admin/verdict.rs", "BEHIND");
    reference.says(format!("holds a frame that is older than {behind}:"));
    reference.says(format!(
        "have up to {} points",
        of.count("src/admin/history.rs", "POINTS")
    ));
    reference.says(format!(
        "At most {} clients may watch",
        of.count("src/admin/live.rs", "PLACES")
    ));
    reference.says(format!(
        "the {} that lost most",
        of.count("src/router/losses.rs", "SENDERS")
    ));
    let soon = of.time("src/net/tls/validity.rs", "SOON").days();
    reference.says(format!("`expires_soon` (within {soon} days)"));
    reference.check();
}

#[test]
fn the_documents_of_log_and_alerts_have_the_limits_of_the_sources() {
    let of = Constants::read();
    let mut log = Document::read("docs/log.md");
    let gate = "src/cli/log/gate.rs";
    let (lines, window) = (of.count(gate, "LINES"), of.time(gate, "WINDOW"));
    log.says(format!("at most {lines} lines in {window} for each target"));
    log.says(format!(
        "a queue of {} to a thread",
        of.size(LOG_QUEUE, "LIMIT")
    ));
    let (idle, at_most) = (of.time(LOG, "IDLE"), of.time(LOG, "AT_MOST"));
    log.says(format!(
        "for at most {at_most}. It gives up earlier if stderr accepts nothing for {idle}"
    ));
    let lines = word(of.count("src/listener/line_limit.rs", "LINES"));
    let window = of.time("src/listener/line_limit.rs", "WINDOW");
    log.says(format!("at most {lines} lines `sender connected`"));
    log.says(format!("{lines} lines `sender disconnected` in {window}"));
    let losses = of.time("src/supervisor/drops.rs", "PERIOD");
    log.says(format!("one line per sink in {losses}"));
    log.says(format!(
        "only the first {} are logged",
        of.count("src/cli/tapfile.rs", "LINES")
    ));
    log.check();

    let mut runbook = Document::read("docs/runbook.md");
    let deadline = of.time("src/files/reader.rs", "DEADLINE").0;
    runbook.says(format!("`did not answer within {deadline:?}`"));
    runbook.says(format!(
        "retries within {}, and",
        of.time("src/listener", "LONGEST_PAUSE")
    ));
    runbook.says(format!(
        "every {} on average",
        Time(of.time(BACKOFF, "MAX").0 / 2)
    ));
    runbook.check();
}

/// The bound of `max_frame` must exist only once in the source code. If it were raised and a copy of it were not, the
/// code with the copy would lose frames.
#[test]
fn the_longest_frame_is_written_once() {
    let longest = Constants::read().size("src/frame_stream/mod.rs", "LONGEST_FRAME");
    let written = format!("{} << 20", longest.0 >> 20);
    let mut copies = Vec::new();
    for source in sources() {
        // The length of a frame is a `u32`. So lines with a constant of type `usize` are about something else.
        let code = source.code_without_tests();
        let lines = code.lines().filter(|line| line.contains(&written));
        let lines = lines.filter(|line| !line.contains(": usize = "));
        copies.extend(lines.map(|line| format!("{}: {}", source.path, line.trim())));
    }
    copies.retain(|copy| !copy.contains("const LONGEST_FRAME: u32"));
    assert_none(&copies, "Use LONGEST_FRAME of `frame_stream` here.");

    let mut replay = Document::read("docs/replay.md");
    replay.says(format!("A frame of more than {longest} is skipped"));
    replay.check();
}

#[test]
fn the_tapfiles_document_has_the_limits_of_the_sources() {
    let of = Constants::read();
    let mut tapfile = Document::read("docs/configuration.md");
    let file = of.size("src/config/source.rs", "FILE_LIMIT");
    tapfile.says(format!("A file has at most {file} of UTF-8 text"));
    let depth = of.count("src/config/import", "DEPTH_LIMIT");
    tapfile.says(format!("Imports may be nested {depth} deep"));
    tapfile.says(format!(
        "at most {} imports",
        of.count("src/config/import", "COUNT_LIMIT")
    ));
    let path = of.count("src/net/address", "UNIX_PATH_LIMIT");
    tapfile.says(format!("a path of more than {path} bytes"));
    let endpoints = of.count("src/sink/endpoints", "ENDPOINTS_AT_MOST");
    tapfile.says(format!("A sink uses at most {endpoints} addresses"));
    let patience = of.time("src/sink/resolution", "PATIENCE");
    tapfile.says(format!("waits at most {patience} for newer ones"));
    let opening = of.count("src/sink/descriptors.rs", "OPENING_AT_MOST");
    tapfile.says(format!(
        "At most {opening} connections can be in their handshakes"
    ));
    let handshake = of.time(ATTEMPT, "DEADLINE");
    tapfile.says(format!("the Frame Streams handshake have {handshake} each"));
    tapfile.says(format!(
        "A batch holds at most {}",
        of.size("src/router", "BATCH_BYTES")
    ));
    let (whole, finish) = (
        of.time("src/sink/reconnect", "LAST_WORDS").0.as_secs(),
        of.time("src/sink/connect", "FINISH_DEADLINE").0.as_secs(),
    );
    tapfile.says(format!(
        "for up to {whole} seconds while the collector reads, or for {finish} seconds if"
    ));
    let pause = of.time(BACKOFF, "MAX").0.as_secs();
    tapfile.says(format!("growing pauses, {pause} seconds at most"));
    tapfile.check();
}

#[test]
fn the_architecture_has_the_limits_of_the_sources() {
    let of = Constants::read();
    let mut page = Document::read("docs/ARCHITECTURE.md");
    page.says(format!(
        "reads up to {} at a time",
        of.size("src/listener/cutter", "MAX_READ")
    ));
    let (bytes, chunks) = (
        of.size("src/router", "BATCH_BYTES"),
        of.count("src/router", "BATCH_CHUNKS"),
    );
    page.says(format!("up to {bytes} or {chunks} chunks"));
    let replaced = of.time("src/sink/reconnect", "LAST_WORDS");
    page.says(format!("after {replaced} at most, or with the sink"));
    let losses = of.time("src/supervisor/drops.rs", "PERIOD");
    page.says(format!("logs losses every {losses}"));
    page.says(format!(
        "a ring of {} points",
        of.count("src/admin/history.rs", "POINTS")
    ));
    let steady = of.time("src/sink/reconnect", "STEADY");
    page.says(format!(
        "after the connection was up for {steady}, not at the handshake"
    ));
    page.check();
}

/// Returns a small number as an English word.
fn word(number: u64) -> String {
    match number {
        3 => "three".to_owned(),
        8 => "eight".to_owned(),
        10 => "ten".to_owned(),
        other => other.to_string(),
    }
}

// === impl Document ===

impl Document {
    fn read(path: &'static str) -> Self {
        let text = read(path);
        Self {
            path,
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            missing: Vec::new(),
        }
    }

    /// Requires that the document contains this sentence, whose numbers come from the source code.
    fn says(&mut self, claim: String) {
        if !self.text.contains(&claim) {
            self.missing.push(claim);
        }
    }

    #[track_caller]
    fn check(&self) {
        let advice = format!(
            "{} lacks these words, with the numbers that the sources have now.\n\
             Correct the number there; if only the words changed, correct them in tests/house/limits.rs.",
            self.path
        );
        assert_none(&self.missing, &advice);
    }
}
