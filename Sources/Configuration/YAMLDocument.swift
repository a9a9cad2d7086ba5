/// A YAML file as a tree of values, limited to what a configuration needs.
///
/// One document without directives, anchors, aliases, merge keys and tags. Keys are texts, and none appears twice.
struct YAMLDocument {
    /// Much more than any configuration written by hand.
    static let byteLimit = 1 << 20
    /// How deep mappings and lists may be nested.
    static let depthLimit = 32
    /// How many scalars, lists and mappings there may be, including keys.
    static let nodeLimit = 100_000

    /// Nil for a file that is empty or has comments only.
    let root: YAMLNode?
    /// Errors other than syntax errors, in no particular order.
    let findings: [Finding]

    /// - Parameter showsText: Whether findings may repeat texts of the file; false for a file with secrets.
    /// - Throws: `Finding` for wrong syntax or a file over a limit: the rest can't be read then.
    init(_ bytes: [UInt8], showsText: Bool = true) throws(Finding) {
        guard bytes.count <= Self.byteLimit else {
            throw Finding(
                place: .start,
                complaint: Complaint(
                    problem: "the file has \(bytes.count) bytes, more than the \(Self.byteLimit) allowed",
                    remedy: "is it the right file?"))
        }
        let end = try rejectDisallowedCharacters(in: bytes)
        var builder = YAMLTreeBuilder(showsText: showsText)
        do throws(Finding) {
            try Self.parse(bytes, into: &builder)
        } catch {
            // libyaml adds a line end to a file that doesn't end with one.
            throw Finding(place: min(error.place, end), path: error.path, complaint: error.complaint)
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
