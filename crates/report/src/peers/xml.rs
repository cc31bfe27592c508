//! Writes what was kept as XML of RFC 7489 and RFC 9990.

use super::row::{Head, Row};

/// Everything in front of the records.
pub(super) fn head(head: &Head, (begin, end): &(String, String), out: &mut Vec<u8>) {
    put(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback");
    if let Some(namespace) = &head.xml_namespace {
        put(out, " xmlns=\"");
        text(out, namespace);
        put(out, "\"");
    }
    put(out, ">");
    // parsedmarc says "draft" where there is none.
    let version = head.version.as_ref().filter(|version| *version != "draft");
    element(out, "version", version);
    put(out, "<report_metadata>");
    element(out, "org_name", head.org_name.as_ref());
    element(out, "email", head.email.as_ref());
    element(out, "extra_contact_info", head.extra_contact_info.as_ref());
    element(out, "report_id", head.report_id.as_ref());
    put(out, "<date_range>");
    element(out, "begin", Some(begin));
    element(out, "end", Some(end));
    put(out, "</date_range>");
    for error in &head.errors {
        element(out, "error", Some(error));
    }
    element(out, "generator", head.generator.as_ref());
    put(out, "</report_metadata><policy_published>");
    for (name, value) in &head.policy {
        element(out, name, value.as_ref());
    }
    put(out, "</policy_published>\n");
}

pub(super) fn record(row: &Row, out: &mut Vec<u8>) {
    put(out, "<record><row>");
    element(out, "source_ip", row.source_ip.as_ref());
    element(out, "count", row.count.as_ref());
    put(out, "<policy_evaluated>");
    element(out, "disposition", row.disposition.as_ref());
    element(out, "dkim", row.dkim.as_ref());
    element(out, "spf", row.spf.as_ref());
    for [kind, comment] in &row.reasons {
        put(out, "<reason>");
        element(out, "type", kind.as_ref());
        element(out, "comment", comment.as_ref());
        put(out, "</reason>");
    }
    put(out, "</policy_evaluated></row><identifiers>");
    element(out, "envelope_to", row.envelope_to.as_ref());
    element(out, "envelope_from", row.envelope_from.as_ref());
    element(out, "header_from", row.header_from.as_ref());
    put(out, "</identifiers><auth_results>");
    results(out, "dkim", "selector", &row.dkim_results);
    results(out, "spf", "scope", &row.spf_results);
    put(out, "</auth_results></record>\n");
}

fn results(out: &mut Vec<u8>, name: &str, second: &str, results: &[[Option<String>; 4]]) {
    for [domain, detail, result, human_result] in results {
        put(out, &format!("<{name}>"));
        element(out, "domain", domain.as_ref());
        element(out, second, detail.as_ref());
        element(out, "result", result.as_ref());
        element(out, "human_result", human_result.as_ref());
        put(out, &format!("</{name}>"));
    }
}

fn element(out: &mut Vec<u8>, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        put(out, &format!("<{name}>"));
        text(out, value);
        put(out, &format!("</{name}>"));
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    for char in text.chars() {
        match char {
            '&' => put(out, "&amp;"),
            '<' => put(out, "&lt;"),
            '>' => put(out, "&gt;"),
            '"' => put(out, "&quot;"),
            '\t' | '\n' | '\r' => put(out, " "),
            // No XML has these.
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => put(out, "\u{fffd}"),
            char => put(out, char.encode_utf8(&mut [0; 4])),
        }
    }
}
