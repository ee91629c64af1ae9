//! Log lines as logfmt: `key=value` pairs that people and programs can read.
//!
//! logfmt has no standard. tapfan writes the dialect of go-logfmt, which Grafana Loki also reads: a value with a space,
//! a quote, `=`, a backslash or a control character is quoted, with the escapes of JSON. Only the text of a value
//! decides whether it is quoted; its type does not matter.

use std::fmt::{self, Debug, Write as _};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::gate::is_own;

/// Formats an event as one line: `time`, `level`, `target` for other crates' events, `msg`, then the fields.
///
/// Spans are ignored: neither tapfan nor its dependencies use any.
#[derive(Debug)]
pub(super) struct Logfmt;

/// The visitor that writes the fields of one event.
struct Pairs<'a, 'w> {
    writer: &'a mut Writer<'w>,
    is_own: bool,
    is_log: bool,
    /// A buffer for the text of a value. The text is collected first, because only the complete text shows whether it
    /// needs quotes.
    value: String,
    result: fmt::Result,
}

const TIME: &str = "time";
const LEVEL: &str = "level";
const TARGET: &str = "target";
const MESSAGE: &str = "msg";

// === impl Logfmt ===

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // For an event from the crate `log`, only the normalized metadata has the target that the event was logged
        // with.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let is_own = is_own(metadata.target());

        write_key(&mut writer, TIME)?;
        if SystemTime.format_time(&mut writer).is_err() {
            writer.write_str("unknown")?;
        }
        writer.write_char(' ')?;
        write_key(&mut writer, LEVEL)?;
        write_painted(
            &mut writer,
            color(*metadata.level()),
            metadata.level().as_str(),
        )?;
        if !is_own {
            writer.write_char(' ')?;
            write_key(&mut writer, TARGET)?;
            write_value(&mut writer, metadata.target())?;
        }
        let mut pairs = Pairs {
            writer: &mut writer,
            is_own,
            is_log: normalized.is_some(),
            value: String::new(),
            result: Ok(()),
        };
        event.record(&mut pairs);
        pairs.result?;
        writer.write_char('\n')
    }
}

// === impl Pairs ===

impl Pairs<'_, '_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        let name = field.name();
        if self.is_log && name.starts_with("log.") {
            return Ok(());
        }
        self.writer.write_char(' ')?;
        match name {
            "message" => write_key(self.writer, MESSAGE)?,
            TIME | LEVEL | MESSAGE => write_key(self.writer, &format!("field_{name}"))?,
            TARGET if !self.is_own => write_key(self.writer, &format!("field_{name}"))?,
            name => write_key(self.writer, name)?,
        }
        write_value(self.writer, value)
    }
}

impl Visit for Pairs<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        // This fails only if the value's own `Debug` fails. In that case the line has the text that was written before
        // the failure.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
        self.value = text;
    }
}

fn write_key(writer: &mut Writer<'_>, key: &str) -> fmt::Result {
    let key: String = key
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    write_painted(writer, "2", &key)?;
    writer.write_char('=')
}

fn write_value(writer: &mut Writer<'_>, value: &str) -> fmt::Result {
    if !value.is_empty() && value.chars().all(is_plain) {
        return writer.write_str(value);
    }
    writer.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => writer.write_str("\\\"")?,
            '\\' => writer.write_str("\\\\")?,
            '\n' => writer.write_str("\\n")?,
            '\r' => writer.write_str("\\r")?,
            '\t' => writer.write_str("\\t")?,
            c if is_control(c) => write!(writer, "\\u{:04x}", u32::from(c))?,
            c => writer.write_char(c)?,
        }
    }
    writer.write_char('"')
}

fn is_plain(c: char) -> bool {
    !(c.is_whitespace() || is_control(c) || matches!(c, '"' | '=' | '\\'))
}

/// Returns whether a character could end the line or control the terminal.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn write_painted(writer: &mut Writer<'_>, code: &str, text: &str) -> fmt::Result {
    if writer.has_ansi_escapes() {
        write!(writer, "\x1b[{code}m{text}\x1b[0m")
    } else {
        writer.write_str(text)
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        _ => "35",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use tracing::{info, subscriber::with_default, warn};
    use tracing_subscriber::{fmt::layer, layer::SubscriberExt as _, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the log lines of `events`, without their time.
    fn written(ansi: bool, events: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = layer()
            .event_format(Logfmt)
            .with_ansi(ansi)
            .with_writer(move || writer.clone());
        with_default(registry().with(layer), events);
        let bytes = buffer.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        let lines = text.lines().map(|line| {
            let (_, rest) = line.split_once(' ').expect("a time");
            rest.to_owned() + "\n"
        });
        lines.collect()
    }

    #[test]
    fn values_are_quoted_only_where_necessary() {
        let text = written(false, || {
            info!(version = "0.1.0", listeners = 1, "tapfan is running");
            let endpoint = "tcp://[::1]:6000";
            info!(%endpoint, connects = 1, "the sink is up");
            info!(endpoint, up = true, age = 0.5, "the sink is up");
            let path = "/a folder/x=\"y\"\\z";
            warn!(path, none = None::<&str>, empty = "", "unusual values");
            let error = io::Error::other("one\ntwo\tthree\x1b[2J\u{9b}\u{2028}");
            warn!(%error, "multi\nline");
            let delay = std::time::Duration::from_millis(1500);
            info!(next_attempt_in = ?delay, quoted = ?"text", "will retry");
        });
        insta::assert_snapshot!(text, @r#"
        level=INFO msg="tapfan is running" version=0.1.0 listeners=1
        level=INFO msg="the sink is up" endpoint=tcp://[::1]:6000 connects=1
        level=INFO msg="the sink is up" endpoint=tcp://[::1]:6000 up=true age=0.5
        level=WARN msg="unusual values" path="/a folder/x=\"y\"\\z" empty=""
        level=WARN msg="multi\nline" error="one\ntwo\tthree\u001b[2J\u009b\u2028"
        level=INFO msg="will retry" next_attempt_in=1.5s quoted="\"text\""
        "#);
    }

    #[test]
    fn foreign_lines_have_a_target_and_cannot_overwrite_keys() {
        let text = written(false, || {
            info!(target: "hickory_net::udp", time = 1, level = "high", target = "t", "a line of a library");
            info!(target: "tapfanatic", first = 0, "a b" = 1, "x=\"y" = 2, "a line of a library");
            info!(target = "hickory_net", held_back = 3, "a line of tapfan");
        });
        insta::assert_snapshot!(text, @r#"
        level=INFO target=hickory_net::udp msg="a line of a library" field_time=1 field_level=high field_target=t
        level=INFO target=tapfanatic msg="a line of a library" first=0 a_b=1 x__y=2
        level=INFO msg="a line of tapfan" target=hickory_net held_back=3
        "#);
    }

    #[test]
    fn colours_are_written_for_a_terminal() {
        let text = written(true, || warn!(sink = "a b", "down"));
        insta::assert_snapshot!(text.escape_debug().to_string(), @r#"\u{1b}[2mlevel\u{1b}[0m=\u{1b}[33mWARN\u{1b}[0m \u{1b}[2mmsg\u{1b}[0m=down \u{1b}[2msink\u{1b}[0m=\"a b\"\n"#);
    }

    proptest! {
        #[test]
        fn an_event_is_one_line_and_its_values_round_trip(value in any::<String>()) {
            let text = written(false, || info!(value = value.as_str(), last = 1, "message"));
            prop_assert_eq!(text.matches('\n').count(), 1);
            let rest = text.strip_prefix("level=INFO msg=message value=").expect("as above");
            let written = rest.strip_suffix(" last=1\n").expect("as above");
            let read = if written.starts_with('"') {
                serde_json::from_str::<String>(written).expect("escapes of JSON")
            } else {
                written.to_owned()
            };
            prop_assert_eq!(read, value);
        }
    }
}
