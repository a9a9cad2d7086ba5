import CYAML

/// libyaml's event for one piece of a file.
struct YAMLEvent {
    enum Kind {
        case documentStart
        case alias(name: String)
        case scalar(text: String, isPlain: Bool)
        case sequenceStart
        case mappingStart
        /// The end of the innermost list or mapping.
        case collectionEnd
        case streamEnd
        /// An event that doesn't matter here: the start of the stream, the end of a document.
        case boundary
    }

    let kind: Kind
    let place: FilePlace
    var hasAnchor = false
    var hasTag = false
}

/// libyaml's event parser over bytes that it owns.
///
/// Not copyable, because it frees its own memory and libyaml's.
struct YAMLEventParser: ~Copyable {
    /// On the heap, because libyaml keeps a pointer to it within itself.
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let input: UnsafeMutableBufferPointer<UInt8>

    /// - Parameter bytes: UTF-8; a byte order mark at their start is left out.
    /// - Throws: `Finding` when there is no memory.
    init(_ bytes: [UInt8]) throws(Finding) {
        parser = .allocate(capacity: 1)
        parser.initialize(to: yaml_parser_t())
        let text = bytes.dropByteOrderMark()
        input = .allocate(capacity: text.count)
        _ = input.initialize(from: text)
        // On failure libyaml leaves the parser zeroed, and `deinit` may delete that.
        guard yaml_parser_initialize(parser) == 1 else { throw Self.memoryFinding }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, input.baseAddress, input.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        input.deallocate()
    }

    /// The next event. Don't call it again after the end of the stream or an error.
    /// - Throws: `Finding` for wrong syntax.
    func next() throws(Finding) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw finding }
        defer { yaml_event_delete(&event) }
        return YAMLEvent(event)
    }

    private static var memoryFinding: Finding {
        Finding(
            place: .start, complaint: Complaint(problem: "there is no memory to read the file", remedy: "free some"))
    }

    private var finding: Finding {
        let state = parser.pointee
        if state.error == YAML_MEMORY_ERROR { return Self.memoryFinding }
        return YAMLSyntaxError(
            problem: state.problem.map { String(cString: $0) } ?? "",
            context: state.context.map { String(cString: $0) } ?? "",
            place: FilePlace(state.problem_mark), contextPlace: FilePlace(state.context_mark)
        ).finding
    }
}

extension YAMLEvent {
    fileprivate init(_ event: yaml_event_t) {
        place = FilePlace(event.start_mark)
        switch event.type {
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_ALIAS_EVENT: kind = .alias(name: event.data.alias.anchor.map { String(cString: $0) } ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            // Read by its length: an escape in double quotes can put a NUL into it.
            let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            kind = .scalar(
                text: String(decoding: bytes, as: UTF8.self), isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
            hasAnchor = scalar.anchor != nil
            hasTag = scalar.tag != nil
        case YAML_SEQUENCE_START_EVENT:
            kind = .sequenceStart
            hasAnchor = event.data.sequence_start.anchor != nil
            hasTag = event.data.sequence_start.tag != nil
        case YAML_MAPPING_START_EVENT:
            kind = .mappingStart
            hasAnchor = event.data.mapping_start.anchor != nil
            hasTag = event.data.mapping_start.tag != nil
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: kind = .collectionEnd
        // libyaml gives "no event" once its stream has ended.
        case YAML_STREAM_END_EVENT, YAML_NO_EVENT: kind = .streamEnd
        default: kind = .boundary
        }
    }
}

extension FilePlace {
    /// libyaml counts from 0.
    fileprivate init(_ mark: yaml_mark_t) {
        self.init(line: Int(clamping: mark.line) + 1, column: Int(clamping: mark.column) + 1)
    }
}
