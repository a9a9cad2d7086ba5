import Configuration
import Testing

/// A file that is refused, with all messages as the user reads them, without "netusage.yaml:" in front.
struct BadFile: CustomTestStringConvertible {
    let yaml: String
    let messages: [String]

    init(_ yaml: String, _ messages: String...) {
        self.yaml = yaml
        self.messages = messages
    }

    var testDescription: String { String(reflecting: yaml) }

    var description: String { messages.map { "netusage.yaml:\($0)" }.joined(separator: "\n") }
}

@Suite struct BadFileTests {
    @Test(arguments: wrongValues) func aWrongValueIsRefused(_ file: BadFile) {
        #expect(errors(in: file.yaml) == file.description)
    }

    @Test(arguments: wrongKeys) func aWrongKeyIsRefused(_ file: BadFile) {
        #expect(errors(in: file.yaml) == file.description)
    }

    @Test(arguments: unsupportedYAML) func whatYAMLHasBesideKeysAndValuesIsRefused(_ file: BadFile) {
        #expect(errors(in: file.yaml) == file.description)
    }

    @Test(arguments: wrongSyntax) func wrongSyntaxIsReportedAlone(_ file: BadFile) {
        #expect(file.messages.count == 1)
        #expect(errors(in: file.yaml) == file.description)
        #expect(errors(in: "# a comment\n" + file.yaml) != file.description, "the line must be counted")
    }

    @Test func aSyntaxErrorIsReportedWithoutWhatWasWrongBeforeIt() {
        let message = "the quote that opens here is never closed; close it with the same kind of quote"
        #expect(errors(in: "foo: 1\nweek_starts: \"mon") == "netusage.yaml:2:14: \(message)")
    }

    @Test func allErrorsOfAFileAreReportedInItsOrder() {
        let yaml = """
            timezone: Europe/Atlantis
            week_start: monday
            metrics: { rates: maybe, adresses: true }
            devices:
              collapse: ["[", lo, lo]
              exclude: lo
            sampling: { on_battery: 5, interval: 1s, interval: 2s }
            limits: []
            storage: [1]
            """
        let expected = #"""
            netusage.yaml:1:11: timezone: the time zone "Europe/Atlantis" can't be used: there is no file for it; \#
            write local, UTC, an offset such as "+05:30" or the name of a zone such as Europe/Berlin
            netusage.yaml:2:1: week_start: is not a known key; did you mean week_starts?
            netusage.yaml:3:19: metrics.rates: "maybe" is not true or false; write true or false
            netusage.yaml:3:26: metrics.adresses: is not a known key; did you mean addresses?
            netusage.yaml:5:14: devices.collapse[0]: "[" is not a pattern; close each [ by a ]
            netusage.yaml:5:23: devices.collapse[2]: is the same as the item at line 5, column 19; remove one of the two
            netusage.yaml:6:12: devices.exclude: "lo" is not a list; write a list, as ["lo"]
            netusage.yaml:7:25: sampling.on_battery: "5" has no unit; add ms, s, m, h, d or w
            netusage.yaml:7:42: sampling.interval: is already set at line 7, column 28; remove one of the two
            netusage.yaml:8:1: limits: is not a known key; \#
            known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, \#
            committed_rates
            netusage.yaml:9:10: storage: this is a list, not a mapping; \#
            write a name, a colon, a space and the value
            """#
        #expect(errors(in: yaml) == expected)
    }

    @Test func anEntryNamesItsPartsOneByOne() throws {
        let thrown = #expect(throws: ConfigurationErrors.self) {
            _ = try read("devices:\n  exclude: [lo, wg0, lo]")
        }
        let entry = try #require(thrown?.entries.first)
        #expect(entry.file == "netusage.yaml")
        #expect(entry.place?.line == 2)
        #expect(entry.place?.column == 22)
        #expect(entry.keyPath == "devices.exclude[2]")
        #expect(entry.problem == "is the same as the item at line 2, column 13")
        #expect(entry.remedy == "remove one of the two")
        #expect(thrown?.entries.count == 1)
    }

    @Test func anErrorWithoutAPlaceNamesFileAndProblem() {
        let errors = ConfigurationErrors(file: "/etc/netusage.yaml", problem: "can't be read; make it readable")
        #expect(errors.description == "/etc/netusage.yaml: can't be read; make it readable")
        #expect(errors.entries.map(\.place) == [nil])
    }

    @Test(
        arguments: [
            [0xFF, 0xFE, 0x61, 0x00], [0xFE, 0xFF, 0x00, 0x61], [0x80], [0xC0, 0x80], [0xED, 0xA0, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xF8, 0x88, 0x80, 0x80, 0x80],
        ] as [[UInt8]])
    func bytesThatAreNotUTF8AreRefused(_ bytes: [UInt8]) {
        let problem = "the file is not UTF-8 text; save it as UTF-8"
        #expect(errors(inBytes: bytes) == "netusage.yaml:1:1: \(problem)")
        #expect(errors(inBytes: Array("# é\r\nab".utf8) + bytes) == "netusage.yaml:2:3: \(problem)")
    }
}

private let wrongValues: [BadFile] = [
    BadFile(
        "csv_log: { directory: csv, devise: wan0 }",
        #"1:23: csv_log.directory: "csv" is not the path of a directory; write the whole path, such as /var/lib/netusage/csv"#,
        "1:28: csv_log.devise: is not a known key; did you mean device?"),
    BadFile(
        "csv_log: { device: wan0 }",
        "1:10: csv_log.directory: is missing; write where the files go, such as /var/lib/netusage/csv"),
    BadFile(
        "sampling:\n  interval: fast\n",
        #"2:13: sampling.interval: "fast" is not a duration; write one such as 1s, 500ms or 5m"#),
    BadFile(
        "sampling:\n  interval: 60\n",
        #"2:13: sampling.interval: "60" has no unit; add ms, s, m, h, d or w"#),
    BadFile(
        "sampling:\n  interval: 99ms\n",
        #"2:13: sampling.interval: "99ms" is out of range; write a duration from 100ms to 1m"#),
    BadFile(
        "sampling:\n  interval: 61s\n",
        #"2:13: sampling.interval: "61s" is out of range; write a duration from 100ms to 1m"#),
    BadFile(
        "storage: { flush_interval: 2h, keep_buckets: 11y }",
        #"1:28: storage.flush_interval: "2h" is out of range; write a duration from 1s to 1h"#,
        #"1:46: storage.keep_buckets: "11y" is not a duration; write one such as 1s, 500ms or 5m"#),
    BadFile(
        "storage: { keep_buckets: 3651d }",
        #"1:26: storage.keep_buckets: "3651d" is out of range; write a duration from 1d to 3650d"#),
    BadFile(
        "sampling: { interval: }",
        "1:23: sampling.interval: has no value; write one such as 1s, 500ms or 5m, or leave it out"),
    BadFile(
        "sampling: { interval: [1s] }",
        "1:23: sampling.interval: this is a list, not a duration; write one such as 1s, 500ms or 5m"),
    BadFile(
        "sampling: { interval: {s: 1} }",
        "1:23: sampling.interval: this is a mapping, not a duration; write one such as 1s, 500ms or 5m"),
    BadFile(
        "sampling: 1s",
        #"1:11: sampling: "1s" is not a mapping; write a name, a colon, a space and the value"#
    ),
    BadFile(
        "sampling: [1s]",
        "1:11: sampling: this is a list, not a mapping; write a name, a colon, a space and the value"
    ),
    BadFile(
        "hello",
        #"1:1: "hello" is not a mapping; write a name, a colon, a space and the value"#),
    BadFile(
        "- a\n- b",
        "1:1: this is a list, not a mapping; write a name, a colon, a space and the value"),
    BadFile(
        "42",
        #"1:1: "42" is not a mapping; write a name, a colon, a space and the value"#),
    BadFile(
        "week_starts: mon",
        #"1:14: week_starts: "mon" is not a day of the week; write one of monday, tuesday, wednesday, thursday, friday, saturday, sunday"#
    ),
    BadFile(
        "week_starts:\n",
        "1:13: week_starts: has no value; write one of monday, tuesday, wednesday, thursday, friday, saturday, sunday, or leave it out"
    ),
    BadFile(
        "week_starts: 1",
        #"1:14: week_starts: "1" is not a day of the week; write one of monday, tuesday, wednesday, thursday, friday, saturday, sunday"#
    ),
    BadFile(
        "metrics: { rates: yes, addresses: OFF }",
        #"1:19: metrics.rates: "yes" is not true or false; write true"#,
        #"1:35: metrics.addresses: "OFF" is not true or false; write false"#),
    BadFile(
        "metrics: { rates: \"true\", addresses: 1 }",
        #"1:19: metrics.rates: "true" in quotes is a text; write true without quotes"#,
        #"1:38: metrics.addresses: "1" is not true or false; write true or false"#),
    BadFile(
        "metrics: { rates: True, addresses: ~ }",
        #"1:19: metrics.rates: "True" is not true or false; write true"#,
        "1:36: metrics.addresses: has no value; write true or false, or leave it out"),
    BadFile(
        "timezone: Europe/Atlantis",
        #"1:11: timezone: the time zone "Europe/Atlantis" can't be used: there is no file for it; write local, UTC, an offset such as "+05:30" or the name of a zone such as Europe/Berlin"#
    ),
    BadFile(
        "timezone: ../etc/passwd",
        #"1:11: timezone: "../etc/passwd" can't be the name of a time zone; write local, UTC, an offset such as "+05:30" or the name of a zone such as Europe/Berlin"#
    ),
    BadFile(
        "timezone: +5:30",
        #"1:11: timezone: "+5:30" is not an offset from UTC; write hours and minutes with two digits each, as "+05:30", up to 23:59"#
    ),
    BadFile(
        "timezone:",
        #"1:10: timezone: has no value; write local, UTC, an offset such as "+05:30" or the name of a zone such as Europe/Berlin, or leave it out"#
    ),
    BadFile(
        "timezone: [UTC]",
        #"1:11: timezone: this is a list, not a time zone; write local, UTC, an offset such as "+05:30" or the name of a zone such as Europe/Berlin"#
    ),
    BadFile(
        "devices:\n  exclude: lo\n",
        #"2:12: devices.exclude: "lo" is not a list; write a list, as ["lo"]"#),
    BadFile(
        "devices: { exclude: }",
        "1:21: devices.exclude: has no value; write [] for an empty list, or leave it out"),
    BadFile(
        "devices: { exclude: {lo: true} }",
        "1:21: devices.exclude: this is a mapping, not a list; write a list, as [lo, wg0]"),
    BadFile(
        "devices: { exclude: [lo, wg0, lo] }",
        "1:31: devices.exclude[2]: is the same as the item at line 1, column 22; remove one of the two"),
    BadFile(
        "devices: { exclude: [\"wg[0\", \"\", ~, \"a b\", [x]] }",
        #"1:22: devices.exclude[0]: "wg[0" is not a pattern; close each [ by a ]"#,
        #"1:30: devices.exclude[1]: "" is not a pattern; write a device name or a pattern, such as "veth*""#,
        #"1:34: devices.exclude[2]: has no value; write a device name or a pattern, such as "veth*", or leave it out"#,
        #"1:37: devices.exclude[3]: "a b" has a space in it, which no device name has; write each pattern as an item of its own"#,
        #"1:44: devices.exclude[4]: this is a list, not a pattern; write a device name or a pattern, such as "veth*""#),
    BadFile(
        "devices: { exclude: [lo, { a: b }] }",
        #"1:26: devices.exclude[1]: this is a mapping, not a pattern; write a device name or a pattern, such as "veth*""#
    ),
    BadFile(
        "timezone\n",
        #"1:1: "timezone" is not a mapping; write a name, a colon, a space and the value"#),
    BadFile(
        "a:b\n",
        #"1:1: "a:b" is not a mapping; write a name, a colon, a space and the value"#),
    BadFile(
        "'---\n---'",
        #"1:1: "--- ---" is not a mapping; write a name, a colon, a space and the value"#),
    BadFile(
        "\u{FEFF}sampling: {\r\n  interval: 1\r\n}",
        #"2:13: sampling.interval: "1" has no unit; add ms, s, m, h, d or w"#),
]

private let wrongKeys: [BadFile] = [
    BadFile(
        "smapling: { interval: 1s }",
        "1:1: smapling: is not a known key; did you mean sampling?"),
    BadFile(
        "sampling: { Interval: 1s }",
        "1:13: sampling.Interval: is not a known key; did you mean interval?"),
    BadFile(
        "storage: { flushInterval: 1s, keep-buckets: 2d, size: 3 }",
        "1:12: storage.flushInterval: is not a known key; did you mean flush_interval?",
        "1:31: storage.keep-buckets: is not a known key; did you mean keep_buckets?",
        "1:49: storage.size: is not a known key; known here are flush_interval, keep_buckets"),
    BadFile(
        #"applications: { names: { "docker-[3f": web, "": x, "a*": "" } }"#,
        #"1:26: applications.names."docker-[3f": is not a pattern; write a name that netusage apps shows, or a pattern such as "docker-*""#,
        #"1:45: applications.names."": is not a pattern; write a name that netusage apps shows, or a pattern such as "docker-*""#,
        #"1:58: applications.names."a*": "" is not a name; write a short name, such as web"#),
    BadFile(
        "limits:\n  - name: x\n",
        "1:1: limits: is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates"
    ),
    BadFile(
        "\"a.b\\nc\": 1",
        #"1:1: "a.b\nc": is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates"#
    ),
    BadFile(
        "é: 1",
        #"1:1: "é": is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates"#
    ),
    BadFile(
        "timezone: UTC\nweek_starts: monday\ntimezone: local\n",
        "3:1: timezone: is already set at line 1, column 1; remove one of the two"),
    BadFile(
        "foo: 1\nfoo: 2",
        "1:1: foo: is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates",
        "2:1: foo: is already set at line 1, column 1; remove one of the two"),
    BadFile(
        "sampling: { interval: 1s, interval: 2s }",
        "1:27: sampling.interval: is already set at line 1, column 13; remove one of the two"),
    BadFile(
        "sampling: { \"\\u202Eb\": 1 }",
        #"1:13: sampling."\u{202E}b": is not a known key; known here are interval, on_battery"#),
    BadFile(
        "? a\n? b",
        "1:3: a: is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates",
        "2:3: b: is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates"
    ),
]

private let unsupportedYAML: [BadFile] = [
    BadFile(
        "devices: { collapse: [*eth, veth*] }",
        #"1:23: devices.collapse[0]: *eth without quotes is a YAML alias, and none is known here; put a pattern in quotes, as "*eth", or write out the value that is meant"#
    ),
    BadFile(
        "devices: { collapse: [&eth] }",
        "1:23: devices.collapse[0]: a value that begins with & has a YAML anchor, and none is known here; remove the anchor, or put the value in quotes"
    ),
    BadFile(
        "timezone: UTC\n---\nweek_starts: monday\n",
        "2:1: a second YAML document begins here; write everything in one and remove the line ---"),
    BadFile(
        "--- \n---\n",
        "2:1: a second YAML document begins here; write everything in one and remove the line ---"),
    BadFile(
        "a: b\n...\n---\n",
        "1:1: a: is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates",
        "3:1: a second YAML document begins here; write everything in one and remove the line ---"),
    BadFile(
        "x: &a { interval: 1s }\nsampling: *a\n",
        "1:1: x: is not a known key; known here are timezone, week_starts, sampling, storage, devices, metrics, csv_log, applications, quotas, rate_limits, committed_rates",
        "1:4: x: a value that begins with & has a YAML anchor, and none is known here; remove the anchor, or put the value in quotes",
        #"2:11: sampling: *a without quotes is a YAML alias, and none is known here; put a pattern in quotes, as "*a", or write out the value that is meant"#
    ),
    BadFile(
        "sampling: &a { interval: 1s }",
        "1:11: sampling: a value that begins with & has a YAML anchor, and none is known here; remove the anchor, or put the value in quotes"
    ),
    BadFile(
        "sampling: { <<: *a }",
        #"1:13: sampling."<<": << is a YAML merge key, and none is known here; write out the keys that are meant"#,
        #"1:17: sampling."<<": *a without quotes is a YAML alias, and none is known here; put a pattern in quotes, as "*a", or write out the value that is meant"#
    ),
    BadFile(
        "sampling: { <<: { interval: 2s } }",
        #"1:13: sampling."<<": << is a YAML merge key, and none is known here; write out the keys that are meant"#),
    BadFile(
        "sampling: !!map { interval: !!str 1s }",
        "1:11: sampling: a value that begins with ! has a YAML tag, and none is known here; remove the tag, or put the value in quotes",
        "1:29: sampling.interval: a value that begins with ! has a YAML tag, and none is known here; remove the tag, or put the value in quotes"
    ),
    BadFile(
        "timezone: !local foo",
        "1:11: timezone: a value that begins with ! has a YAML tag, and none is known here; remove the tag, or put the value in quotes"
    ),
    BadFile(
        "? [a]\n: b",
        "1:3: a list or mapping can't be a key; write a name, a colon and a space"),
    BadFile(
        "? {a: b}\n: c",
        "1:3: a list or mapping can't be a key; write a name, a colon and a space"),
    BadFile(
        "*a : b",
        #"1:1: *a without quotes is a YAML alias, and none is known here; put a pattern in quotes, as "*a", or write out the value that is meant"#
    ),
    BadFile(
        "&a timezone: UTC",
        "1:1: a value that begins with & has a YAML anchor, and none is known here; remove the anchor, or put the value in quotes"
    ),
    BadFile(
        "!!str timezone: UTC",
        "1:1: a value that begins with ! has a YAML tag, and none is known here; remove the tag, or put the value in quotes"
    ),
    BadFile(
        "timezone: \"a\\0b\"",
        #"1:11: timezone: "a\u{0}b" holds a control character; remove it"#),
    BadFile(
        "\"a\\eb\": 1",
        #"1:1: "a\u{1B}b" holds a control character; remove it"#),
    BadFile(
        "[a]: b",
        "1:1: a list or mapping can't be a key; write a name, a colon and a space"),
    BadFile(
        "sampling: *x\n---\n- [",
        #"1:11: sampling: *x without quotes is a YAML alias, and none is known here; put a pattern in quotes, as "*x", or write out the value that is meant"#,
        "2:1: a second YAML document begins here; write everything in one and remove the line ---"),
]

private let wrongSyntax: [BadFile] = [
    BadFile(
        "devices: { collapse: [*] }",
        #"1:24: * and & have a meaning of their own in YAML and can't begin a value; put it in quotes, as "*""#),
    BadFile(
        "devices: { collapse: [!eth] }",
        "1:27: ! begins a YAML tag, and none is known here; put the value in quotes"),
    BadFile(
        "devices: { collapse: [wg[0-3]] }",
        "1:25: the list that opens at line 1, column 22 should go on or end here; put a comma between two values, ] at the end, and values with [ ] { } or , in quotes"
    ),
    BadFile(
        ": 1",
        "1:1: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "a: b\n...\nc: d",
        "3:1: the settings have ended before this; write all of them as keys of one mapping"),
    BadFile(
        "%YAML 1.1\n---\n",
        "1:1: a line that begins with % is a YAML directive, and none is known here; remove the line"),
    BadFile(
        "%foo",
        "1:1: a line that begins with % is a YAML directive, and none is known here; remove the line"),
    BadFile(
        "a:\n%b",
        "2:1: a line that begins with % is a YAML directive, and none is known here; remove the line"),
    BadFile(
        "sampling:\n\tinterval: 1s",
        "2:1: there is a tab here; write spaces instead"),
    BadFile(
        "timezone: UTC\t# x",
        "1:14: there is a tab here; write spaces instead"),
    BadFile(
        "timezone: a\0b",
        "1:12: there is a NUL byte here; remove it, or save the file as UTF-8"),
    BadFile(
        "timezone: a\u{07}b",
        "1:12: there is the invisible character U+0007 here; remove it"),
    BadFile(
        "timezone: a\u{2028}b",
        "1:12: there is the invisible character U+2028 here; remove it"),
    BadFile(
        "a\u{FEFF}: b",
        "1:2: there is the invisible character U+FEFF here; remove it"),
    BadFile(
        "sampling: {\n",
        "2:1: there should be a value here; remove a comma or bracket that is too much, close one that is open, or use quotes"
    ),
    BadFile(
        "sampling: { interval: 1s\nmetrics: { rates: true }\n",
        "2:8: the mapping that opens at line 1, column 11 should go on or end here; put a comma between two values, } at the end, and values with [ ] { } or , in quotes"
    ),
    BadFile(
        "devices: { exclude: [lo }",
        "1:25: the list that opens at line 1, column 21 should go on or end here; put a comma between two values, ] at the end, and values with [ ] { } or , in quotes"
    ),
    BadFile(
        "devices: { exclude: [lo }\nmetrics:",
        "1:25: the list that opens at line 1, column 21 should go on or end here; put a comma between two values, ] at the end, and values with [ ] { } or , in quotes"
    ),
    BadFile(
        "devices: { exclude: [\"lo] }",
        "1:22: the quote that opens here is never closed; close it with the same kind of quote"),
    BadFile(
        "timezone: 'UTC",
        "1:11: the quote that opens here is never closed; close it with the same kind of quote"),
    BadFile(
        "timezone: UTC: x",
        "1:14: there can be no key here, but a colon says there is one; begin a line for each key, with a colon and a space behind it, and put a value with a colon in quotes"
    ),
    BadFile(
        "timezone UTC\nweek_starts: monday",
        "2:12: there can be no key here, but a colon says there is one; begin a line for each key, with a colon and a space behind it, and put a value with a colon in quotes"
    ),
    BadFile(
        "a: b\n c: d",
        "2:3: there can be no key here, but a colon says there is one; begin a line for each key, with a colon and a space behind it, and put a value with a colon in quotes"
    ),
    BadFile(
        "  a: b\nc: d",
        "2:1: the settings have ended before this; write all of them as keys of one mapping"),
    BadFile(
        "a:\n  - b\n c: d",
        "3:2: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "a:\n  - b\n  c: d",
        "3:3: this is not a further item of the list that begins at line 2, column 3; indent all items of a list alike, and begin each with a dash and a space"
    ),
    BadFile(
        "a: - b",
        "1:4: there can be no list item here, but a dash says there is one; begin a line for each item, indent all of a list alike, and put a value with a dash in quotes"
    ),
    BadFile(
        "- a\nb: c",
        "2:1: this is not a further item of the list that begins at line 1, column 1; indent all items of a list alike, and begin each with a dash and a space"
    ),
    BadFile(
        "a: @b",
        "1:4: no value can begin with this character; put the value in quotes"),
    BadFile(
        "a: `b`",
        "1:4: no value can begin with this character; put the value in quotes"),
    BadFile(
        "a: |\n\n   x\n  y\n z",
        "4:3: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "a: |0\n",
        "1:5: the text behind | or > isn't indented as YAML wants it; write the text in quotes on one line"),
    BadFile(
        "a: \"\\q\"",
        #"1:5: in double quotes \ begins an escape, and this one is unknown; write \\ for a backslash, or use single quotes"#
    ),
    BadFile(
        "a: \"\\xZZ\"",
        #"1:7: in double quotes \ begins an escape, and this one is unknown; write \\ for a backslash, or use single quotes"#
    ),
    BadFile(
        "a: [b, , c]",
        "1:8: there should be a value here; remove a comma or bracket that is too much, close one that is open, or use quotes"
    ),
    BadFile(
        "a: ]",
        "1:4: there should be a value here; remove a comma or bracket that is too much, close one that is open, or use quotes"
    ),
    BadFile(
        "a: }",
        "1:4: there should be a value here; remove a comma or bracket that is too much, close one that is open, or use quotes"
    ),
    BadFile(
        "{a: 1}\nb: 2",
        "2:1: the settings have ended before this; write all of them as keys of one mapping"),
    BadFile(
        "a: b\n- c",
        "2:1: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "a: ? b",
        "1:4: there can be no key here, but a question mark says there is one; put the value in quotes"),
    BadFile(
        "a: !<foo",
        "1:9: ! begins a YAML tag, and none is known here; put the value in quotes"),
    BadFile(
        "a: !x!y z",
        "1:4: ! begins a YAML tag, and none is known here; put the value in quotes"),
    BadFile(
        "a: *",
        #"1:5: * and & have a meaning of their own in YAML and can't begin a value; put it in quotes, as "*""#),
    BadFile(
        "a: & b",
        #"1:5: * and & have a meaning of their own in YAML and can't begin a value; put it in quotes, as "*""#),
    BadFile(
        "a: \"\\ud800\"",
        #"1:7: in double quotes \ begins an escape, and this one is unknown; write \\ for a backslash, or use single quotes"#
    ),
    BadFile(
        "a: %b",
        "1:4: no value can begin with this character; put the value in quotes"),
    BadFile(
        "a: b: c",
        "1:5: there can be no key here, but a colon says there is one; begin a line for each key, with a colon and a space behind it, and put a value with a colon in quotes"
    ),
    BadFile(
        "timezone: UTC\nsampling\nstorage: {}",
        "2:1: this should be a key, but there is no colon behind it; write a name, a colon, a space and the value"),
    BadFile(
        "\"a\"b: c",
        "1:4: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "a: 'it's'",
        "1:8: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "a: \"x\" y",
        "1:8: this is not a further key of the mapping that begins at line 1, column 1; indent all keys of a mapping alike, with a colon and a space behind each, and nothing behind a quote"
    ),
    BadFile(
        "key: [a\nb: c",
        "2:2: the list that opens at line 1, column 6 should go on or end here; put a comma between two values, ] at the end, and values with [ ] { } or , in quotes"
    ),
    BadFile(
        "a: |x\n b",
        "1:5: the text behind | or > isn't indented as YAML wants it; write the text in quotes on one line"),
    BadFile(
        "a: [{]}",
        "1:6: there should be a value here; remove a comma or bracket that is too much, close one that is open, or use quotes"
    ),
    BadFile(
        "sampling: {interval:1s, on_battery:[2s]}",
        "1:35: the colon here belongs neither to a key nor to a value; write a space behind the colon of a key, and put a value with a colon in quotes"
    ),
    BadFile(
        "sampling: {",
        "1:12: there should be a value here; remove a comma or bracket that is too much, close one that is open, or use quotes"
    ),
]
