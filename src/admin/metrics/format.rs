//! The two formats of `/metrics`, and the choice between them.

use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The older text format of Prometheus, 0.0.4.
    Text,
}

// === impl Format ===

impl Format {
    /// Chooses the format by the `Accept` header (RFC 9110, section 12.5.1).
    ///
    /// A client that accepts both formats gets the one that it prefers, or OpenMetrics if it prefers neither. A client that
    /// does not ask for a format, such as curl, gets the older one, which every tool reads.
    pub(super) fn negotiate(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("q", value)) => quality = value.trim().parse().unwrap_or(0.0),
                    Some(("version", value)) => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            let (of, known) = match media.as_str() {
                "application/openmetrics-text" => (&mut open_metrics, ["1.0.0", "0.0.1"]),
                "text/plain" => (&mut text, ["0.0.4", "1.0.0"]),
                "text/*" | "*/*" => (&mut text, ["", ""]),
                _ => continue,
            };
            if version.is_none_or(|version| known.contains(&version)) {
                *of = of.max(quality);
            }
        }
        if open_metrics > 0.0 && open_metrics >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics to the older text format.
///
/// The older format uses a counter's full name (`x_total`) also in comments, writes metrics of the type info as gauges,
/// and has neither units nor an end marker. The lines with samples are the same in both formats, because tapfan writes
/// no exemplars. The conversion works line by line, which is safe because line breaks within labels are escaped.
pub(super) fn to_text(open_metrics: &str) -> String {
    let types: HashMap<&str, &str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines() {
        let comment = line
            .strip_prefix("# ")
            .and_then(|comment| comment.split_once(' '));
        match comment {
            Some((word @ ("HELP" | "TYPE"), rest)) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let (suffix, kind) = match types.get(name).copied() {
                    Some("counter") => ("_total", "counter"),
                    Some("info") => ("_info", "gauge"),
                    Some(kind) => ("", kind),
                    None => ("", "untyped"),
                };
                let rest = if word == "TYPE" { kind } else { rest };
                text.extend(["# ", word, " ", name, suffix, " ", rest, "\n"]);
            }
            Some(_) => {}
            None if line == "# EOF" => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_the_format_it_prefers() {
        let open_metrics = [
            // Prometheus 2.45.
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            // Prometheus 2.26 to 2.32.
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // Prometheus 3 sends these values. The second one also asks for the protobuf format.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.2",
            "Application/OpenMetrics-Text",
        ];
        for accept in open_metrics {
            assert_eq!(Format::negotiate(accept), Format::OpenMetrics, "{accept}");
        }
        let text = [
            "",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain;version=0.0.4",
            // Prometheus 1, and Prometheus 2 before 2.5.
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.1,text/plain;q=0.2",
            "application/openmetrics-text;q=x",
            ";;==,,q=1",
        ];
        for accept in text {
            assert_eq!(Format::negotiate(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn the_older_format_differs_only_in_comments() {
        let open_metrics = "\
            # HELP a_frames Frames.\n# TYPE a_frames counter\na_frames_total{x=\"# EOF \\n\"} 1\n\
            # HELP b What.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
            # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\n\
            c_seconds_sum 1.5\nc_seconds_count 1\nc_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "\
            # HELP a_frames_total Frames.\n# TYPE a_frames_total counter\na_frames_total{x=\"# EOF \\n\"} 1\n\
            # HELP b_info What.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
            # HELP c_seconds Time.\n# TYPE c_seconds histogram\n\
            c_seconds_sum 1.5\nc_seconds_count 1\nc_seconds_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(to_text(open_metrics), text);
    }
}
