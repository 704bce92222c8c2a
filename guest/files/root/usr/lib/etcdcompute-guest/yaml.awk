# Flattens a YAML document to lines "path=value", the path's parts joined with "/", list items by their number from 0.
# Block and flow style, JSON, quoting, folded scalars and block scalars; no anchors, tags or documents after the first.
# A line break inside a value is written as \n, a backslash as \\.

{ sub(/\r$/, ""); line[++lines] = $0 }

END {
    at = 1
    while (at <= lines && (line[at] ~ /^(---|%)/ || is_empty(line[at]))) at++
    if (at <= lines) block("")
}

function is_empty(text) { return text ~ /^[ \t]*(#.*)?$/ }
function indent_of(text) { match(text, /^ */); return RLENGTH }
function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }
function join(path, part) { return path == "" ? part : path "/" part }

# To the next line that says something.
function advance() { do at++; while (at <= lines && is_empty(line[at])) }
function done() { return at > lines || line[at] ~ /^(---|\.\.\.)([ \t]|$)/ }
function is_item(text) { return text ~ /^ *-([ \t]|$)/ }

function emit(path, value) { print path "=" swap(swap(value, "\\", "\\\\"), "\n", "\\n") }

# gsub() would give backslashes in `new` a meaning, and awks differ on which.
function swap(text, old, new,    result, found) {
    result = ""
    while (found = index(text, old)) {
        result = result substr(text, 1, found - 1) new
        text = substr(text, found + length(old))
    }
    return result text
}

# The node that begins on this line.
function block(path,    indent, number) {
    indent = indent_of(line[at])
    if (is_item(line[at])) {
        for (number = 0; !done() && indent_of(line[at]) == indent && is_item(line[at]); number++)
            item(join(path, number), indent)
    } else if (key_length(substr(line[at], indent + 1))) {
        while (!done() && indent_of(line[at]) == indent && !is_item(line[at])) {
            if (!key_length(substr(line[at], indent + 1))) { advance(); continue }
            pair(path, indent)
        }
    } else {
        scalar(path, trim(line[at]), indent - 1)
    }
}

# "- rest": the rest is a node of its own, as if the dash were a blank.
function item(path, indent,    rest) {
    rest = substr(line[at], indent + 2)
    if (is_empty(rest)) {
        advance()
        if (!done() && indent_of(line[at]) > indent) block(path)
        else emit(path, "")
        return
    }
    line[at] = sprintf("%" (indent + 1) "s", "") rest
    rest = trim(rest)
    if (rest ~ /^[|>][-+0-9]*[ \t]*(#.*)?$/) literal(path, rest, indent)
    else if (is_item(rest) || key_length(rest)) block(path)
    else scalar(path, rest, indent)
}

function pair(path, indent,    text, length_, key, rest) {
    text = substr(line[at], indent + 1)
    length_ = key_length(text)
    key = unquote(trim(substr(text, 1, length_)))
    rest = trim(substr(text, length_ + 2))
    path = join(path, key)
    if (rest == "" || rest ~ /^#/) {
        advance()
        # A list may stand at its key's own indentation.
        if (!done() && (indent_of(line[at]) > indent || (indent_of(line[at]) == indent && is_item(line[at])))) block(path)
        else emit(path, "")
    } else if (rest ~ /^[|>][-+0-9]*[ \t]*(#.*)?$/) literal(path, rest, indent)
    else scalar(path, rest, indent)
}

# How many characters stand before the colon that ends a key; 0: this is no "key: value".
function key_length(text,    first, end) {
    first = substr(text, 1, 1)
    if (first == "\"" || first == "'") {
        end = quoted_length(text)
        return end && substr(text, end + 1) ~ /^[ \t]*:([ \t]|$)/ ? index(substr(text, end + 1), ":") + end - 1 : 0
    }
    if (index("[{]}#&*!|>%@`", first)) return 0
    return match(text, /:([ \t]|$)/) ? RSTART - 1 : 0
}

# A block scalar: all lines further in than its key, line breaks kept ("|") or made blanks (">").
function literal(path, style, indent,    value, inner, text, blank) {
    inner = -1
    value = ""
    for (at++; at <= lines; at++) {
        text = line[at]
        blank = text ~ /^[ \t]*$/
        if (!blank && indent_of(text) <= indent) break
        if (inner < 0 && !blank) inner = indent_of(text)
        value = value (blank ? "" : substr(text, inner + 1)) (style ~ /^>/ ? " " : "\n")
    }
    sub(/[ \n]+$/, "", value)
    emit(path, value (style ~ /^[|>][0-9]*-/ ? "" : "\n"))
    at--
    advance()
}

# A value that begins with `text` on this line and may go on in the lines further in.
function scalar(path, text, indent,    first) {
    first = substr(text, 1, 1)
    if (first == "[" || first == "{") {
        while (!is_balanced(text) && at < lines) { at++; text = text "\n" trim(line[at]) }
        advance()
        flow = text
        place = 1
        flow_node(path)
        return
    }
    if (first == "\"" || first == "'") {
        while (!quoted_length(text) && at < lines) {
            at++
            text = text "\n" trim(line[at])
        }
        advance()
        emit(path, unquote(text))
        return
    }
    sub(/[ \t]+#.*$/, "", text)
    for (advance(); !done() && indent_of(line[at]) > indent; advance()) {
        first = trim(line[at])
        sub(/[ \t]+#.*$/, "", first)
        text = text " " first
    }
    emit(path, plain(text))
}

function plain(text) { return text == "~" || text == "null" ? "" : text }

# The length of the quoted string that `text` begins with, quotes included; 0 if it does not end.
function quoted_length(text,    quote, position, character) {
    quote = substr(text, 1, 1)
    for (position = 2; position <= length(text); position++) {
        character = substr(text, position, 1)
        if (character == "\\" && quote == "\"") position++
        else if (character == quote) {
            if (quote == "'" && substr(text, position + 1, 1) == "'") position++
            else return position
        }
    }
    return 0
}

function unquote(text,    quote, end, value, position, character) {
    quote = substr(text, 1, 1)
    if (quote != "\"" && quote != "'") return text
    end = quoted_length(text)
    text = substr(text, 2, end - 2)
    if (quote == "'") return swap(swap(text, "\n", " "), "''", "'")
    value = ""
    for (position = 1; position <= length(text); position++) {
        character = substr(text, position, 1)
        if (character == "\n") character = " "    # two lines are one blank apart, unless a backslash ends the first
        else if (character == "\\") {
            character = substr(text, ++position, 1)
            if (character == "\n") character = ""
            else if (character == "n") character = "\n"
            else if (character == "t") character = "\t"
            else if (character == "r") character = "\r"
        }
        value = value character
    }
    return value
}

# Whether the brackets that `text` begins with are closed in it. A quote is one only where a value or key begins.
function is_balanced(text,    position, character, depth, before, size) {
    before = "["
    for (position = 1; position <= length(text); position++) {
        character = substr(text, position, 1)
        if (index(" \t\n", character)) continue
        if (is_comment(text, position)) {
            position += match(substr(text, position), /\n/) ? RSTART - 1 : length(text)
            continue
        }
        if (index("\"'", character) && index("[{,:", before)) {
            size = quoted_length(substr(text, position))
            if (!size) return 0
            position += size - 1
        } else if (index("[{", character)) depth++
        else if (index("]}", character) && --depth == 0) return 1
        before = character
    }
    return 0
}

function is_comment(text, position) {
    return substr(text, position, 1) == "#" && index(" \t\n", substr(text, position - 1, 1))
}

# Flow style: `flow` is the text, `place` where the next node begins.
function skip() {
    for (; place <= length(flow); place++) {
        if (is_comment(flow, place)) while (place < length(flow) && substr(flow, place + 1, 1) != "\n") place++
        else if (!index(" \t\n", substr(flow, place, 1))) return
    }
}

function flow_node(path,    character, number, key) {
    skip()
    character = substr(flow, place, 1)
    if (character == "[") {
        place++
        for (number = 0; flow_more("]"); number++) flow_node(join(path, number))
    } else if (character == "{") {
        place++
        while (flow_more("}")) {
            key = flow_scalar(1)
            skip()
            if (substr(flow, place, 1) == ":") place++
            flow_node(join(path, key))
        }
    } else {
        emit(path, flow_scalar(0))
    }
}

# Past a comma; false, and past the bracket, at the end.
function flow_more(end,    character) {
    skip()
    if (substr(flow, place, 1) == ",") { place++; skip() }
    if (place > length(flow)) return 0
    if (substr(flow, place, 1) == end) { place++; return 0 }
    return 1
}

function flow_scalar(is_key,    character, start, size, text) {
    skip()
    text = substr(flow, place)
    character = substr(text, 1, 1)
    if (character == "\"" || character == "'") {
        size = quoted_length(text)
        place += size
        return unquote(substr(text, 1, size))
    }
    start = place
    for (; place <= length(flow); place++) {
        character = substr(flow, place, 1)
        if (index(",[]{}", character)) break
        if (is_key && character == ":" && substr(flow, place + 1, 1) ~ /^[ \t\n]?$/) break
        if (is_comment(flow, place)) break
    }
    text = substr(flow, start, place - start)
    skip()    # a comment
    return plain(trim(swap(text, "\n", " ")))
}
