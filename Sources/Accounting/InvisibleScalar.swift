extension Unicode.Scalar {
    /// Whether a terminal shows nothing for it, or acts on it: controls, line ends, marks of writing direction.
    ///
    /// No such scalar reaches a terminal, the log or a report as it is.
    package var isInvisible: Bool {
        if isASCII { return value < 0x20 || value == 0x7F }
        return switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: true
        case .spaceSeparator: self != " "
        default: false
        }
    }
}
