/// JSON strings (RFC 8259) for log lines, where an encoder's set-up would cost more than the line.
package enum JSONText {
    /// Appends `,"key":value`. Ids of the record are numbers, as in its JSON; everything else is text.
    package static func append(key: String, _ value: String, to line: inout String) {
        line += ","
        append(key, to: &line)
        line += ":"
        if key.hasSuffix("_id"), Int64(value) != nil {
            line += value
        } else {
            append(value, to: &line)
        }
    }

    package static func append(_ text: String, to line: inout String) {
        line += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case _ where scalar.isControl:
                let hex = String(scalar.value, radix: 16)
                line += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: line.unicodeScalars.append(scalar)
            }
        }
        line += "\""
    }
}
