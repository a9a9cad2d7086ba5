/// A YAML file as a tree of values, limited to what a configuration needs.
///
/// There is one document, without directives, anchors, aliases, merge keys and tags; keys are texts and stand once.
struct YAMLDocument {
    /// More than any configuration written by hand, with much room.
    static let byteLimit = 1 << 20
    /// How many mappings and lists may stand in one another.
    static let depthLimit = 32
    /// How many scalars, lists and mappings there may be, keys counted.
    static let nodeLimit = 100_000

    /// Nil for a file that is empty or has comments only.
    let root: YAMLNode?
    /// What was met beside the syntax, in no particular order.
    let findings: [Finding]

    /// - Parameter showsText: Whether findings may repeat texts of the file; no for a file with secrets.
    /// - Throws: `Finding` for wrong syntax and for what is over a limit: the rest then can't be read.
    init(_ bytes: [UInt8], showsText: Bool = true) throws(Finding) {
        guard bytes.count <= Self.byteLimit else {
            throw Finding(
                at: .start,
                Complaint(
                    problem: "the file has \(bytes.count) bytes, more than the \(Self.byteLimit) allowed",
                    remedy: "is it the right file?"))
        }
        let end = try rejectDisallowedCharacters(in: bytes)
        var builder = YAMLTreeBuilder(showsText: showsText)
        do throws(Finding) {
            try Self.parse(bytes, into: &builder)
        } catch {
            throw error.clamped(to: end)
        }
        root = builder.root
        findings = builder.findings
    }

    private static func parse(_ bytes: [UInt8], into builder: inout YAMLTreeBuilder) throws(Finding) {
        let parser = try YAMLEventParser(bytes)
        var hasDocument = false
        while true {
            let event = try parser.next()
            switch event.kind {
            case .streamEnd: return
            case .documentStart where hasDocument:
                builder.rejectSecondDocument(at: event.place)
                return
            case .documentStart: hasDocument = true
            case .boundary: break
            case .alias, .scalar, .sequenceStart, .mappingStart, .collectionEnd: try builder.take(event)
            }
        }
    }
}

extension Finding {
    /// At `end` at the latest: libyaml adds a line to a file that doesn't end with one.
    fileprivate func clamped(to end: FilePlace) -> Finding {
        Finding(at: min(place, end), path, complaint)
    }
}
