extension Unicode.Scalar {
    /// Whether a terminal may take it for a command: C0 (ESC and the like), DEL and C1 (CSI and the like).
    package var isControl: Bool { value < 32 || (127...159).contains(value) }
}

extension String {
    /// The text with a space for every control character.
    public var withoutControls: String {
        String(String.UnicodeScalarView(unicodeScalars.map { $0.isControl ? " " : $0 }))
    }

    /// Whether each character can be seen, or is a space between such.
    package var isPrintable: Bool {
        unicodeScalars.allSatisfy { scalar in
            if scalar.isASCII { return !scalar.isControl }
            return switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate: false
            default: true
            }
        }
    }
}
