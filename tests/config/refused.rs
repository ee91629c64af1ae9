//! Configurations that are refused, or accepted with a warning, and the texts of their messages.

use std::{collections::BTreeSet, fs};

use tapfan::config::{Diagnostic, Loaded};

use super::parse;

/// Names and configurations with errors.
const BROKEN: &[(&str, &str)] = &[
    // Addresses.
    (
        "socket_upper_case",
        "listen @in\ndnstap TCP://collector.example:6000 full\n",
    ),
    (
        "socket_udp",
        "listen @in\ndnstap udp://collector.example:6000\n",
    ),
    (
        "socket_http",
        "listen @in\ndnstap http://collector.example:6000\n",
    ),
    (
        "socket_without_slashes",
        "listen @in\ndnstap tcp:collector.example:6000\n",
    ),
    (
        "socket_without_scheme",
        "listen @in\ndnstap 192.0.2.1:6000\n",
    ),
    (
        "socket_without_port",
        "listen @in\ndnstap tcp://collector.example full\n",
    ),
    (
        "socket_port_zero",
        "listen @in\ndnstap tcp://collector.example:0\n",
    ),
    (
        "socket_port_too_large",
        "listen @in\ndnstap tcp://collector.example:65536\n",
    ),
    (
        "socket_port_no_number",
        "listen @in\ndnstap tcp://collector.example:dnstap\n",
    ),
    ("socket_empty", "listen @in\ndnstap \"\"\n"),
    ("socket_of_a_port_alone", "listen @in\ndnstap :6000\n"),
    (
        "socket_with_two_mistakes",
        "listen @in\ndnstap TCP://::1:6000\n",
    ),
    (
        "file_with_an_unknown_letter",
        "listen @in\ndnstap file:///var/log/dnstap/%y%m%d.fstrm\n",
    ),
    (
        "file_is_a_device",
        "listen @in\ndnstap file:///dev/stdout full\n",
    ),
    (
        "file_is_relative",
        "listen @in\ndnstap file://log/dnstap.fstrm\n",
    ),
    (
        "file_in_a_folder_of_the_time",
        "listen @in\ndnstap file:///var/log/%Y/%m.fstrm\n",
    ),
    (
        "file_with_options_of_connections",
        "listen @in\ndnstap file:///f {\n    skipverify\n    ca /ca.pem\n    max_age 1h\n}\n",
    ),
    (
        "file_with_values_out_of_bounds",
        "listen @in\ndnstap file:///f {\n    rotate 500ms\n    size 1KiB\n    keep_files 0\n    compress zst\n}\n",
    ),
    (
        "options_of_files_without_a_file",
        "listen @in\ndnstap /s {\n    rotate 1h\n    compress zstd\n}\n",
    ),
    ("listen_on_a_file", "listen file:///var/log/x\ndnstap /s\n"),
    ("listen_on_a_port_alone", "listen :6000\ndnstap /s\n"),
    ("listen_on_a_star", "listen tcp://*:6000\ndnstap /s\n"),
    (
        "listen_on_a_star_without_scheme",
        "listen *:6000\ndnstap /s\n",
    ),
    (
        "listen_on_a_name_without_scheme",
        "listen dns.example:6000\ndnstap /s\n",
    ),
    ("socket_without_host", "listen @in\ndnstap tls://:6000\n"),
    (
        "socket_unbracketed_ipv6",
        "listen @in\ndnstap tcp://2001:db8::1:6000\n",
    ),
    (
        "socket_bad_zone",
        "listen @in\ndnstap tcp://[fe80::1%25]:6000\n",
    ),
    (
        "socket_with_space",
        "listen @in\ndnstap \"tcp://collector.example :6000\"\n",
    ),
    (
        "socket_padded",
        "listen @in\ndnstap \" /run/my dnstap.sock\"\n",
    ),
    ("socket_of_environment", "listen @in\ndnstap {$UPPER}\n"),
    (
        "socket_path_too_long",
        "listen @in\ndnstap /run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.sock\n",
    ),
    (
        "socket_bad_ipv4",
        "listen @in\ndnstap tcp://300.1.1.1:6000\n",
    ),
    (
        "socket_not_ascii",
        "listen @in\ndnstap tcp://müller.example:6000\n",
    ),
    (
        "socket_with_path",
        "listen @in\ndnstap tcp://collector.example:6000/dnstap\n",
    ),
    (
        "socket_srv_with_port",
        "listen @in\ndnstap tcp+srv://_dnstap._tcp.collector.example.:6000 full\n",
    ),
    (
        "socket_srv_without_service",
        "listen @in\ndnstap tls+srv://collector.dns-obs.svc.cluster.local.\n",
    ),
    (
        "listen_srv",
        "listen tcp+srv://_dnstap._tcp.collector.example\ndnstap /s\n",
    ),
    ("listen_name", "listen tcp://localhost:6000\ndnstap /s\n"),
    ("listen_anywhere", "listen tcp://:6000\ndnstap /s\n"),
    (
        "admin_with_scheme",
        "listen @in\nadmin http://127.0.0.1:9180/\ndnstap /s\n",
    ),
    (
        "admin_host",
        "listen @in\nadmin 127.0.0.1:9180 { host edge.example:9180 }\nprobes 127.0.0.1:9181 { host http://edge.example/ edge!1 300.1.1.1 }\ndnstap /s\n",
    ),
    (
        "admin_host_without_value",
        "listen @in\nadmin 127.0.0.1:9180 {\nhost\n}\nhost edge.example\ndnstap /s\n",
    ),
    (
        "admin_option_misspelt",
        "listen @in\nadmin 127.0.0.1:9180 { hots edge.example }\ndnstap /s\n",
    ),
    // Arguments.
    ("dnstap_alone", "listen @in\ndnstap\n"),
    ("dnstap_listen_alone", "listen @in\ndnstap listen\n"),
    (
        "dnstap_listen_name",
        "listen @in\ndnstap listen tcp://dns.example:6000 full\n",
    ),
    (
        "dnstap_listen_file",
        "listen @in\ndnstap listen file:///var/log/dnstap full\n",
    ),
    (
        "dnstap_listen_options",
        "listen @in\ndnstap listen tls://[::]:6000 full {\n tls a.crt a.key\n endpoints all\n refresh 1s 2s\n max_age 1h\n confirm kernel\n spool /s 1GiB\n server_name a.example\n rotate 1h\n mode 0600\n}\n",
    ),
    (
        "dnstap_listen_tls",
        "listen @in\ndnstap listen tls://[::]:6000\ndnstap listen tls://[::]:6001 {\n tls a.crt\n}\ndnstap listen tls://[::]:6002 {\n tls a b\n ca c\n}\ndnstap listen tcp://[::]:6003 {\n tls a b\n}\n",
    ),
    (
        "dnstap_listen_tls_elsewhere",
        "listen @in\ndnstap listen tcp://[::1]:1 {\n tls a b\n}\n",
    ),
    (
        "dnstap_listen_elsewhere",
        "listen @in\ndnstap tcp://192.0.2.1:6000 {\n max_collectors 4\n mode 0600\n tls a b\n}\n",
    ),
    (
        "dnstap_listen_taken",
        "listen tcp://127.0.0.1:6000\nadmin 127.0.0.1:6001\ndnstap listen tcp://:6000\ndnstap listen tcp://0.0.0.0:6001\ndnstap listen /s\ndnstap listen unix:///s\ndnstap /s\n",
    ),
    ("full_misspelt", "listen @in\ndnstap /s ful\n"),
    ("full_misplaced", "listen @in\ndnstap /s 2 full\n"),
    ("full_twice", "listen @in\ndnstap /s full full\n"),
    ("left_over_number", "listen @in\ndnstap /s full 2 3 4\n"),
    (
        "left_over_number_without_full",
        "listen @in\ndnstap /s 2 3 4\n",
    ),
    (
        "single_quotes",
        "listen @in\ndnstap '/run/my dnstap.sock'\n",
    ),
    (
        "write_buffer_too_large",
        "listen @in\ndnstap /s full 1025\n",
    ),
    ("queue_too_small", "listen @in\ndnstap /s full 1 0\n"),
    (
        "queue_of_environment",
        "listen @in\ndnstap /s full 1 {$QUEUE}\n",
    ),
    ("number_with_letters", "listen @in\ndnstap /s full 4MiB\n"),
    (
        "option_as_argument",
        "listen @in\ndnstap tls://h:1 full skipverify\n",
    ),
    (
        "listen_two_addresses",
        "listen tcp://127.0.0.1:1 tcp://127.0.0.1:2\ndnstap /s\n",
    ),
    ("listen_alone", "listen\ndnstap /s\n"),
    ("drain_without_unit", "listen @in\ndnstap /s\ndrain 10\n"),
    ("drain_too_long", "listen @in\ndnstap /s\ndrain 1h\n"),
    ("drain_no_time", "listen @in\ndnstap /s\ndrain soon\n"),
    (
        "unfinished_frames_too_small",
        "listen @in\ndnstap /s\nunfinished_frames 64KiB\n",
    ),
    ("memory_too_small", "listen @in\ndnstap /s\nmemory 1MiB\n"),
    // Options.
    (
        "option_misspelt",
        "listen @in\ndnstap /s {\n    idenity edge-1\n}\n",
    ),
    (
        "option_unknown",
        "listen @in\ndnstap /s {\n    timeout 4s\n}\n",
    ),
    (
        "option_without_value",
        "listen @in\ndnstap /s {\n    identity\n    version 1\n}\n",
    ),
    (
        "option_with_two_values",
        "listen @in\ndnstap /s {\n    identity edge 1\n}\n",
    ),
    (
        "flag_with_value",
        "listen @in\ndnstap tls://h:1 {\n    skipverify true\n}\n",
    ),
    ("option_outside", "listen @in\ndnstap /s\nidentity edge-1\n"),
    (
        "option_of_drain",
        "listen @in\ndnstap /s\ndrain 10s {\n    hard\n}\n",
    ),
    (
        "nested_block",
        "listen @in\ndnstap /s {\n    extra {\n        a b\n    }\n}\n",
    ),
    (
        "skipverify_without_tls",
        "listen @in\ndnstap tcp://h:1 {\n    skipverify\n}\n",
    ),
    (
        "certificates_without_tls",
        "listen @in\ndnstap /s {\n    ca a.pem\n    server_name b\n}\n",
    ),
    (
        "cert_without_key",
        "listen @in\ndnstap tls://h:1 {\n    cert a.pem\n}\n",
    ),
    (
        "server_name_no_name",
        "listen @in\ndnstap tls://h:1 {\n    server_name https://h\n}\n",
    ),
    (
        "ca_empty",
        "listen @in\ndnstap tls://h:1 {\n    ca {$NOTHING}\n}\n",
    ),
    (
        "name_with_control",
        "listen @in\ndnstap /s {\n    name \"a\nb\"\n}\n",
    ),
    (
        "name_taken",
        "listen @in\ndnstap /a {\n    name siem\n}\ndnstap /b {\n    name siem\n}\n",
    ),
    (
        "name_of_another_socket",
        "listen @in\ndnstap /a\ndnstap /b {\n    name /a\n}\n",
    ),
    (
        "queue_bytes_no_size",
        "listen @in\ndnstap /s {\n    queue_bytes 64MB\n}\n",
    ),
    (
        "queue_bytes_too_small",
        "listen @in\ndnstap /s {\n    queue_bytes 1KiB\n}\n",
    ),
    (
        "endpoints_unknown",
        "listen @in\ndnstap tcp://h:1 {\n    endpoints ballance\n}\ndnstap tcp://i:1 {\n    endpoints some\n}\n",
    ),
    (
        "endpoints_no_value",
        "listen @in\ndnstap tcp://h:1 {\n    endpoints\n}\n",
    ),
    (
        "refresh_one_value",
        "listen @in\ndnstap tcp://h:1 {\n    refresh 5s\n}\n",
    ),
    (
        "refresh_no_value",
        "listen @in\ndnstap tcp://h:1 {\n    refresh\n    full\n}\n",
    ),
    (
        "refresh_three_values",
        "listen @in\ndnstap tcp://h:1 {\n    refresh 5s 10s 20s\n}\n",
    ),
    (
        "refresh_reversed",
        "listen @in\ndnstap tcp://h:1 {\n    refresh 1m 5s\n}\n",
    ),
    (
        "refresh_out_of_bounds",
        "listen @in\ndnstap tcp://h:1 {\n    refresh 500ms 2h\n}\n",
    ),
    (
        "connection_times_out_of_bounds",
        "listen @in\ndnstap /s {\n    write_timeout 500ms\n    max_age 169h\n}\ndnstap /t {\n    write_timeout 11m\n    max_age 0s\n}\n",
    ),
    (
        "connection_times_no_time",
        "listen @in\ndnstap /s {\n    write_timeout 30\n    max_age off\n}\n",
    ),
    (
        "max_age_without_value",
        "listen @in\ndnstap /s {\n    max_age\n    write_timeout\n}\n",
    ),
    (
        "resolver_with_argument",
        "listen @in\ndnstap /s\nresolver 10.96.0.10\n",
    ),
    ("resolver_alone", "listen @in\ndnstap /s\nresolver\n"),
    (
        "resolver_twice",
        "listen @in\ndnstap /s\nresolver {\n    ndots 5\n}\nresolver {\n    ndots 1\n}\n",
    ),
    (
        "resolver_option_misspelt",
        "listen @in\ndnstap /s\nresolver {\n    nameservers 10.96.0.10\n}\n",
    ),
    (
        "resolver_bad_values",
        "listen @in\ndnstap /s\nresolver {\n    nameserver dns.example 10.96.0.300 10.96.0.10:0\n    search 10.96.0.10 a..b\n    ndots 16\n    timeout 1ms\n}\n",
    ),
    (
        "resolver_option_without_value",
        "listen @in\ndnstap /s\nresolver {\n    nameserver\n    search\n}\n",
    ),
    (
        "resolver_option_outside",
        "listen @in\ndnstap /s\nnameserver 10.96.0.10\n",
    ),
    (
        "mode_not_octal",
        "listen /in {\n    mode 0888\n}\ndnstap /s\n",
    ),
    (
        "mode_too_large",
        "listen /in {\n    mode 04755\n}\ndnstap /s\n",
    ),
    (
        "max_frame_too_large",
        "listen @in {\n    max_frame 17MiB\n}\ndnstap /s\n",
    ),
    (
        "max_connections_none",
        "listen @in {\n    max_connections 0\n}\ndnstap /s\n",
    ),
    (
        "listen_tls_without_key",
        "listen tls://0.0.0.0:6443 {\n    cert a.pem\n}\ndnstap /s\n",
    ),
    (
        "listen_options_of_another_kind",
        "listen tcp://127.0.0.1:1 {\n    mode 0600\n    cert a.pem\n}\ndnstap /s\n",
    ),
    // Blocks and tokens.
    (
        "brace_below",
        "listen @in\ndnstap /s\n{\n    identity a\n}\n",
    ),
    ("brace_glued", "listen @in\ndnstap /s{\n    identity a\n}\n"),
    (
        "brace_glued_to_option",
        "listen @in\ndnstap /s {identity a }\n",
    ),
    (
        "brace_missing",
        "listen @in\ndnstap /a {\n    identity a\ndnstap /b {\n    identity b\n}\n",
    ),
    (
        "brace_missing_at_end",
        "listen @in\ndnstap /a {\n    identity a\n",
    ),
    (
        "brace_glued_at_end",
        "listen @in\ndnstap /a { identity a}\n",
    ),
    (
        "brace_too_many",
        "listen @in\ndnstap /a {\n    identity a\n}\n}\n",
    ),
    (
        "brace_with_more_behind",
        "listen @in\ndnstap /a {\n    identity a\n} full 2\n",
    ),
    (
        "block_of_nothing",
        "{\n    identity a\n}\nlisten @in\ndnstap /s\n",
    ),
    (
        "quote_open",
        "listen @in\ndnstap /s {\n    identity \"edge\n}\n",
    ),
    // The whole configuration.
    ("directive_misspelt", "lisen @in\ndnstap /s\n"),
    (
        "directive_unknown",
        "listen @in\ndnstap /s\nforward . 9.9.9.9\n",
    ),
    (
        "server_block",
        ".:53 {\n    forward . 9.9.9.9\n    dnstap /s full\n}\n",
    ),
    (
        "guess_a_corefile",
        ". {\n    errors\n    dnstap tcp://collector.example:6000 full {\n        identity a\n    }\n    forward . 9.9.9.9\n    dnstap /s\n}\n",
    ),
    (
        "guess_plugins",
        "listen @in\ndnstap /s\nmetadata\nprometheus :9153\nlog\ncache 30\n",
    ),
    (
        "guess_yaml",
        "listen:\n  - unix:///run/tapfan/dnstap.sock\nsinks:\n  - tcp: collector.example:6000\n",
    ),
    (
        "guess_colon",
        "listen @in\ndnstap @s\nadmin 127.0.0.1:9190\ndrain: 5s\nnmae x\n",
    ),
    (
        "guess_toml",
        "[[sinks]]\nsocket = \"tcp://collector.example:6000\"\n",
    ),
    (
        "guess_arguments_in_the_block",
        "listen @in\ndnstap /s {\n    full\n    queue 8\n    writebuffer 2\n}\ndnstap @s full 2 {\n    queue 4\n}\n",
    ),
    (
        "guess_words_for_tls",
        "listen @in\ndnstap tls://collector.example:6443 {\n    tls_ca /ca.pem\n    sni c.example\n}\n",
    ),
    (
        "guess_insecure",
        "listen @in\ndnstap tls://collector.example:6443 {\n    insecure\n}\n",
    ),
    (
        "guess_words_for_a_listener",
        "listen /in {\n    permissions 0660\n    user bind\n}\ndnstap /s\n",
    ),
    ("guess_listen_on_a_port", "listen 6000\ndnstap /s\n"),
    ("guess_sink_of_a_port", "listen @in\ndnstap 6000\n"),
    ("guess_stdout", "listen @in\ndnstap stdout\ndnstap -\n"),
    ("empty", "# nothing yet\n"),
    ("no_listener", "dnstap /s\n"),
    ("no_sink", "listen @in\n"),
    (
        "listener_twice",
        "listen unix:///run/in.sock\nlisten @in\ndnstap /s\nlisten /run/in.sock\n",
    ),
    (
        "listener_and_admin",
        "listen tcp://127.0.0.1:9180\nadmin 127.0.0.1:9180\ndnstap /s\n",
    ),
    (
        "probes_and_admin",
        "listen @in\nadmin 127.0.0.1:9181\nprobes 127.0.0.1:9181\ndnstap /s\n",
    ),
    (
        "probes_and_the_default_of_admin",
        "listen @in\nprobes 127.0.0.1:9180\ndnstap /s\n",
    ),
    (
        "probes_everywhere_and_the_default_of_admin",
        "listen @in\nprobes 0.0.0.0:9180\ndnstap /s\n",
    ),
    (
        "probes_everywhere_and_admin",
        "listen @in\nprobes [::]:9181\nadmin 127.0.0.1:9181\ndnstap /s\n",
    ),
    (
        "listener_and_the_default_of_admin",
        "listen tcp://0.0.0.0:9180\ndnstap /s\n",
    ),
    (
        "listener_everywhere_and_admin",
        "listen tcp://0.0.0.0:6000\nadmin 127.0.0.1:6000\ndnstap /s\n",
    ),
    (
        "listeners_with_one_port",
        "listen tcp://0.0.0.0:6000\nlisten tcp://127.0.0.1:6000\ndnstap /s\n",
    ),
    (
        "ready_when_misspelt",
        "listen @in\ndnstap /s\nready_when anny\n",
    ),
    (
        "loop_unix",
        "listen unix:///run/dnstap.sock\ndnstap /run/dnstap.sock full\n",
    ),
    (
        "loop_tcp",
        "listen tcp://0.0.0.0:6000\ndnstap tcp://127.0.0.1:6000\n",
    ),
    // Imports.
    (
        "import_missing",
        "import no-such.conf\nlisten @in\ndnstap /s\n",
    ),
    ("import_nothing", "import\nlisten @in\ndnstap /s\n"),
    ("import_two", "import a b\nlisten @in\ndnstap /s\n"),
    (
        "import_snippet_misspelt",
        "(common) {\n    identity a\n}\nlisten @in\ndnstap /s {\n    import comon\n}\n",
    ),
    (
        "import_snippet_too_early",
        "listen @in\ndnstap /s {\n    import common\n}\n(common) {\n    identity a\n}\n",
    ),
    (
        "import_of_itself",
        "import loop-a.conf\nlisten @in\ndnstap /s\n",
    ),
    (
        "import_snippet_of_itself",
        "(a) {\n    import b\n}\n(b) {\n    import a\n}\nimport a\n",
    ),
    (
        "import_deep_pattern",
        "import **/*.conf\nlisten @in\ndnstap /s\n",
    ),
    (
        "import_bad_pattern",
        "import conf.d/[a\nlisten @in\ndnstap /s\n",
    ),
    ("import_broken_file", "listen @in\nimport broken.conf\n"),
    (
        "import_unclosed_file",
        "listen @in\nimport unclosed.conf\ndnstap /s\n",
    ),
    ("import_not_utf8", "listen @in\nimport latin1.conf\n"),
    ("import_folder", "listen @in\nimport conf.d\ndnstap /s\n"),
    ("snippet_without_block", "(common)\nlisten @in\ndnstap /s\n"),
    (
        "snippet_twice",
        "(a) { identity a }\n(a) { identity b }\nlisten @in\ndnstap /s { import a }\n",
    ),
    (
        "snippet_error_names_its_user",
        "(tls) {\n    skipverify\n}\nlisten @in\ndnstap tls://h:1 {\n    import tls\n}\ndnstap /s {\n    import tls\n}\n",
    ),
    (
        "everything_at_once",
        "listen tcp://localhost:6000 {\n    mode 0600\n    max_frame 1\n}\ndnstap tcp:h:1 ful 0 {\n    idenity \"a\n    b\"\n    skipverify\n}\ndrian 10s\n",
    ),
];

/// Names and configurations that are accepted with a warning.
const DOUBTFUL: &[(&str, &str)] = &[
    ("comment_in_word", "listen @in\ndnstap /tmp/a#b\n"),
    (
        "comment_in_word_with_more",
        "listen @in\ndnstap /tmp/a#b full\n",
    ),
    (
        "variable_not_set",
        "listen @in\ndnstap /s {\n    identity edge-{$NOTHING}\n}\n",
    ),
    ("numbers_without_full", "listen @in\ndnstap /s 2 3\n"),
    ("number_without_full", "listen @in\ndnstap /s 2\n"),
    (
        "files_of_two_sinks",
        "listen @in\ndnstap file:///a/%Y%m%d%H.fstrm {\n keep_files 24\n}\ndnstap file:///b/%s.fstrm { keep_files 2 }\n\
         dnstap file:///a/%s.fstrm.zst {\n name zst\n}\ndnstap file:///a/%s.other\n",
    ),
    (
        "numbers_that_coredns_refuses",
        "listen @in\ndnstap /s 1024 2048\n",
    ),
    (
        "option_twice",
        "listen @in\ndnstap /s {\n    identity a\n    version 1\n    identity b\n}\n",
    ),
    (
        "unfinished_frames_below_two_frames",
        "listen @in {\n    max_frame 16MiB\n}\ndnstap /s\nunfinished_frames 31MiB\n",
    ),
    ("drain_twice", "listen @in\ndnstap /s\ndrain 1s\ndrain 2s\n"),
    (
        "extra_unknown_placeholder",
        "listen @in\ndnstap /s {\n    extra \"site {nmae} {type} {>ID} {xyzzy} {nmae}\"\n}\n",
    ),
    (
        "extra_label_that_cannot_exist",
        "listen @in\ndnstap /s {\n    extra {/tap/pere}{/upstream}{/tap/peer}\n}\n",
    ),
    (
        "extra_label_of_a_dns_server",
        "listen @in\ndnstap /s {\n    extra \"upstream: {/forward/upstream} \\\"{/tab/peer}\\\"\"\n}\n",
    ),
    (
        "ca_and_skipverify",
        "listen @in\ndnstap tls://h:1 {\n    skipverify\n    ca a.pem\n}\n",
    ),
    (
        "dnstap_listen_skipverify",
        "listen @in\ndnstap listen tls://[::1]:1 {\n    cert c.pem\n    key k.pem\n    ca a.pem\n    skipverify\n}\n",
    ),
    (
        "pattern_without_match",
        "listen @in\ndnstap /s\nimport none.d/*.conf\n",
    ),
    (
        "relative_where_root_was_meant",
        "listen unix://run/tapfan.sock\ndnstap /s\n",
    ),
    (
        "mode_of_abstract",
        "listen @in {\n    mode 0600\n}\ndnstap /s\n",
    ),
    (
        "queue_smaller_than_frame",
        "listen @in {\n    max_frame 16MiB\n}\ndnstap /s {\n    queue_bytes 1MiB\n}\n",
    ),
    (
        "endpoints_of_an_address",
        "listen @in\ndnstap tcp://192.0.2.1:6000 {\n    endpoints all\n}\ndnstap /s {\n    endpoints failover\n}\n",
    ),
    (
        "confirm_kernel_of_a_unix_socket",
        "listen @in\ndnstap /s {\n    confirm kernel\n}\n",
    ),
    (
        "refresh_of_an_address",
        "listen @in\ndnstap tcp://192.0.2.1:6000 {\n    refresh 5s 10s\n}\n",
    ),
    (
        "resolver_name_server_twice",
        "listen @in\ndnstap /s\nresolver {\n    nameserver 10.96.0.10 10.96.0.10:53\n}\n",
    ),
    ("carriage_return", "listen @in\rdnstap\r\ndnstap /s\n"),
];

fn snapshot(name: &str, text: &str, loaded: &Loaded) {
    insta::with_settings!({ snapshot_path => "snapshots", description => text, omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("config__{name}"), loaded.diagnostics.render(false));
    });
}

#[test]
fn invalid_configurations_get_these_errors() {
    for (name, text) in BROKEN {
        let loaded = parse(text);
        assert!(loaded.diagnostics.has_errors(), "{name}");
        assert!(loaded.config.is_none(), "{name}");
        snapshot(name, text, &loaded);
    }
}

#[test]
fn doubtful_configurations_get_these_warnings() {
    for (name, text) in DOUBTFUL {
        let loaded = parse(text);
        assert!(loaded.config.is_some(), "{name}");
        assert!(loaded.diagnostics.warnings() > 0, "{name}");
        snapshot(name, text, &loaded);
    }
}

/// Returns the messages of a configuration's diagnostics, without their places.
fn problems(loaded: &Loaded) -> Vec<String> {
    let messages = loaded.diagnostics.iter().map(Diagnostic::message);
    messages.map(str::to_owned).collect()
}

#[test]
fn proposed_corrections_remove_the_problem() {
    let mut proposals = 0;
    for (name, text) in BROKEN.iter().chain(DOUBTFUL) {
        let loaded = parse(text);
        for problem in loaded.diagnostics.iter() {
            let Some(mended) = loaded.diagnostics.mended(problem) else {
                continue;
            };
            let place = loaded.diagnostics.position(problem);
            if place.is_some_and(|place| !place.file.ends_with("/Tapfile")) {
                // The proposed correction would change an imported file, so it cannot be applied to this text.
                continue;
            }
            proposals += 1;
            let said = problem.message().to_owned();
            let count =
                |loaded: &Loaded| problems(loaded).iter().filter(|one| **one == said).count();
            let (before, after) = (count(&loaded), count(&parse(&mended)));
            assert!(after < before, "{name}: {said} is not mended by\n{mended}");
            // Correcting one problem may show another problem that was hidden by it. But if the configuration had only
            // one problem, no problem must remain.
            if loaded.diagnostics.iter().count() == 1 {
                let left = parse(&mended).diagnostics.render(false);
                assert!(left.is_empty(), "{name}:\n{mended}\n{left}");
            }
        }
    }
    assert!(proposals > 20, "{proposals}");
}

/// Returns the examples in a help text: the code spans after "write", "as in" or "or".
fn examples(help: &str) -> impl Iterator<Item = &str> {
    let mut parts = help.split('`');
    let mut before = parts.next().unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let (quoted, after) = (parts.next()?, parts.next()?);
            let is_example = ["write ", "as in ", " or "]
                .iter()
                .any(|word| before.ends_with(word));
            before = after;
            if is_example {
                return Some(quoted);
            }
        }
    })
}

#[test]
fn whole_lines_and_addresses_that_are_written_as_examples_are_accepted() {
    let mut seen = BTreeSet::new();
    for (name, text) in BROKEN.iter().chain(DOUBTFUL) {
        let loaded = parse(text);
        for problem in loaded.diagnostics.iter() {
            let place = loaded.diagnostics.position(problem);
            let line = place.and_then(|place| text.lines().nth(place.line - 1));
            let binds = line.is_some_and(|line| line.starts_with("listen"));
            for example in examples(problem.remedy().unwrap_or_default()) {
                // A single word is the name of a directive, not a line.
                let directive = example.split_once(' ').map_or("", |(name, _)| name);
                let tapfile = match directive {
                    "listen" => format!("{example}\ndnstap /s\n"),
                    "dnstap" => format!("listen @in\n{example}\n"),
                    "admin" | "drain" | "probes" | "ready_when" | "resolver" => {
                        format!("listen @in\ndnstap /s\n{example}\n")
                    }
                    _ if example.contains("host") || example.ends_with("://") => continue,
                    _ if example.starts_with("tls://") && binds => {
                        format!("listen {example} {{\ncert c\nkey k\n}}\ndnstap /s\n")
                    }
                    _ if !example.contains("://") && !example.starts_with("./") => continue,
                    _ if binds => format!("listen {example}\ndnstap /s\n"),
                    _ => format!("listen @in\ndnstap {example}\n"),
                };
                seen.insert(example.to_owned());
                let left = parse(&tapfile).diagnostics.render(false);
                assert!(left.is_empty(), "{name}:\n{tapfile}\n{left}");
            }
        }
    }
    assert!(seen.len() > 8, "{seen:?}");
}

#[test]
fn every_snapshot_belongs_to_a_configuration_here() {
    let names: BTreeSet<String> = BROKEN
        .iter()
        .chain(DOUBTFUL)
        .map(|(name, _)| format!("config__{name}.snap"))
        .collect();
    assert_eq!(
        names.len(),
        BROKEN.len() + DOUBTFUL.len(),
        "names are unique"
    );
    let files: BTreeSet<String> = fs::read_dir("tests/config/snapshots")
        .expect("the folder of snapshots")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.starts_with("config__"))
        .collect();
    assert_eq!(files, names);
}
