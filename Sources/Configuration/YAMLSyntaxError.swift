/// A syntax error, in libyaml's own words.
struct YAMLSyntaxError {
    let problem: String
    /// The piece that libyaml was reading, like "while parsing a block mapping"; may be empty.
    let context: String
    /// The place where libyaml stopped.
    let place: FilePlace
    /// The place where that piece began; line 1, column 1 when `context` is empty.
    let contextPlace: FilePlace

    /// The error in plain words, at the place where the user can repair it.
    ///
    /// Source of libyaml's words: scanner.c and parser.c of libyaml 0.2.5.
    var finding: Finding {
        if context == "while scanning a block scalar" {
            let problem = "the text behind | or > isn't indented as YAML wants it"
            return Finding(
                place: place, complaint: Complaint(problem: problem, remedy: "write the text in quotes on one line"))
        }
        if context.hasPrefix("while scanning a tag") || context.hasPrefix("while parsing a tag") {
            return Finding(place: place, complaint: .tag)
        }
        switch problem {
        case "found unexpected end of stream", "found unexpected document indicator", "could not find expected ':'":
            return Finding(place: contextPlace, complaint: complaint)
        default: return Finding(place: place, complaint: complaint)
        }
    }

    private var complaint: Complaint {
        switch problem {
        case "found unexpected end of stream", "found unexpected document indicator":
            Complaint(
                problem: "the quote that opens here is never closed", remedy: "close it with the same kind of quote")
        case "could not find expected ':'":
            Complaint(
                problem: "this should be a key, but there is no colon behind it",
                remedy: "write a name, a colon, a space and the value")
        case "did not find expected ',' or ']'": .openBracket("list", closing: "]", from: contextPlace)
        case "did not find expected ',' or '}'": .openBracket("mapping", closing: "}", from: contextPlace)
        case "found unknown escape character", "did not find expected hexdecimal number",
            "found invalid Unicode character escape code":
            Complaint(
                problem: "in double quotes \\ begins an escape, and this one is unknown",
                remedy: "write \\\\ for a backslash, or use single quotes")
        case "mapping values are not allowed in this context":
            Complaint(
                problem: "there can be no key here, but a colon says there is one",
                remedy: "begin a line for each key, with a colon and a space behind it, "
                    + "and put a value with a colon in quotes")
        case "mapping keys are not allowed in this context":
            Complaint(
                problem: "there can be no key here, but a question mark says there is one",
                remedy: "put the value in quotes")
        case "block sequence entries are not allowed in this context":
            Complaint(
                problem: "there can be no list item here, but a dash says there is one",
                remedy: "begin a line for each item, indent all of a list alike, and put a value with a dash in quotes")
        case "did not find expected key":
            Complaint(
                problem: "this is not a further key of the mapping that begins at \(contextPlace.text)",
                remedy: "indent all keys of a mapping alike, with a colon and a space behind each, "
                    + "and nothing behind a quote")
        case "did not find expected '-' indicator":
            Complaint(
                problem: "this is not a further item of the list that begins at \(contextPlace.text)",
                remedy: "indent all items of a list alike, and begin each with a dash and a space")
        case "did not find expected node content":
            Complaint(
                problem: "there should be a value here",
                remedy: "remove a comma or bracket that is too much, close one that is open, or use quotes")
        case "did not find expected alphabetic or numeric character":
            Complaint(
                problem: "* and & have a meaning of their own in YAML and can't begin a value",
                remedy: "put it in quotes, as \"*\"")
        case "found character that cannot start any token":
            Complaint(
                problem: "no value can begin with this character", remedy: "put the value in quotes")
        case "found undefined tag handle": .tag
        case "found unexpected ':'":
            Complaint(
                problem: "the colon here belongs neither to a key nor to a value",
                remedy: "write a space behind the colon of a key, and put a value with a colon in quotes")
        case "did not find expected <document start>":
            Complaint(
                problem: "the settings have ended before this", remedy: "write all of them as keys of one mapping")
        default:
            Complaint(
                problem: "this is not YAML (\(problem))", remedy: "compare the line with the example configuration")
        }
    }
}

extension Complaint {
    fileprivate static let tag = Complaint(
        problem: "! begins a YAML tag, and none is known here", remedy: "put the value in quotes")

    fileprivate static func openBracket(_ kind: String, closing: String, from place: FilePlace) -> Complaint {
        Complaint(
            problem: "the \(kind) that opens at \(place.text) should go on or end here",
            remedy: "put a comma between two values, \(closing) at the end, and values with [ ] { } or , in quotes")
    }
}
