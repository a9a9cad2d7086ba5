/// One value of a YAML file with the place where it begins.
struct YAMLNode {
    enum Content {
        /// `isPlain` without quotes, which matters where `true` and "true" differ.
        case scalar(text: String, isPlain: Bool)
        case sequence([YAMLNode])
        /// In the order of the file; no key stands twice.
        case mapping([YAMLEntry])
        /// Something that was there and has been complained about; it isn't to be complained about again.
        case rejected
    }

    let content: Content
    let place: FilePlace

    /// Whether nothing stands here, or one of YAML's words for it.
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// Whether this is a scalar without quotes.
    var isPlain: Bool {
        if case .scalar(_, isPlain: true) = content { true } else { false }
    }

    /// The text of a scalar.
    /// - Parameter kind: what is expected, as "a duration".
    /// - Throws: `Complaint` with the given remedy for a list, a mapping or no value.
    func text(of kind: String, remedy: String) throws(Complaint) -> String {
        switch content {
        case .sequence: throw Complaint(problem: "this is a list, not \(kind)", remedy: remedy)
        case .mapping: throw Complaint(problem: "this is a mapping, not \(kind)", remedy: remedy)
        // Not met: `MappingReader` decodes nothing that has been rejected.
        case .rejected: return ""
        case .scalar(let text, isPlain: _):
            if isNull { throw Complaint(problem: "has no value", remedy: "\(remedy), or leave it out") }
            return text
        }
    }
}

/// A key of a mapping and its value.
struct YAMLEntry {
    let key: String
    let keyPlace: FilePlace
    let value: YAMLNode
}
