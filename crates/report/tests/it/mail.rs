//! Messages, one trait each.

use crate::outcome::read_bytes;

const REPORT: &str = "<feedback><report_metadata><org_name>r</org_name><report_id>1</report_id><date_range>\
    <begin>1</begin><end>2</end></date_range></report_metadata><policy_published><domain>d.example</domain>\
    </policy_published></feedback>";

/// What the documents of a message come to.
#[track_caller]
fn check(message: &str, expected: &[&str]) {
    for message in [message.to_owned(), message.replace('\n', "\r\n")] {
        let outcomes = read_bytes(message.clone());
        let words: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.word()).collect();
        assert_eq!(words, expected, "{message}\n{outcomes:?}");
    }
}

/// A message of one part.
#[track_caller]
fn check_part(fields: &str, body: &str, expected: &[&str]) {
    check(
        &format!("From: a@b.example\n{fields}\n\n{body}\n"),
        expected,
    );
}

#[test]
fn a_report_is_found_whatever_it_is_declared_to_be() {
    for media_type in [
        "text/xml",
        "text/plain",
        "text/html",
        "application/gzip",
        "image/png",
        "x",
    ] {
        check_part(&format!("Content-Type: {media_type}"), REPORT, &["report"]);
    }
    check_part("X-No-Type: 1", REPORT, &["report"]);
}

#[test]
fn pages_and_pictures_are_decoration() {
    check_part(
        "Content-Type: text/html",
        "<!DOCTYPE html><html></html>",
        &["no_report"],
    );
    check_part(
        "Content-Type: text/html; name=x",
        "<p>feedback</p>",
        &["no_report"],
    );
    check_part(
        "Content-Type: application/xhtml+xml",
        "<html/>",
        &["no_report"],
    );
    check_part("Content-Type: image/svg+xml", "<svg/>", &["no_report"]);
    check_part("Content-Type: text/plain", "{\"a\": 1}", &["no_report"]);
    check_part("Content-Type: text/plain", "Hello: world", &["no_report"]);
    check_part("Content-Type: text/plain", "", &["no_report"]);
}

#[test]
fn what_claims_to_be_a_report_is_rejected_rather_than_ignored() {
    check_part("Content-Type: text/xml", "<html/>", &["not_a_report"]);
    check_part(
        "Content-Type: application/gzip",
        "unused",
        &["not_a_report"],
    );
    check_part("Content-Type: application/zip", "", &["empty"]);
    check_part(
        "Content-Disposition: attachment; filename=\"a.XML\"",
        "unused",
        &["not_a_report"],
    );
    check_part(
        "Content-Type: application/x; name=a.xml.gz",
        "unused",
        &["not_a_report"],
    );
    check_part(
        "Content-Type: application/tlsrpt+json",
        "{}",
        &["not_a_report"],
    );
    check_part(
        "Content-Type: text/xml",
        "<!DOCTYPE feedback><feedback/>",
        &["doctype"],
    );
}

#[test]
fn tls_reports_are_told_by_their_content() {
    let json = "{\"report-id\": \"1\", \"policies\": [], \"more\": {}}";
    check_part(
        "Content-Type: application/tlsrpt+json",
        json,
        &["tls_report"],
    );
    check_part("Content-Type: text/plain", json, &["tls_report"]);
    check_part(
        "Content-Type: text/plain",
        "{\"report-id\": \"1\"}",
        &["no_report"],
    );
}

#[test]
fn failure_reports_are_told_by_their_part() {
    check_part(
        "Content-Type: message/feedback-report",
        "Feedback-Type: abuse",
        &["failure_report"],
    );
    check_part(
        "Content-Type: text/plain",
        "\nfeedback-type: auth-failure",
        &["failure_report"],
    );
    check(
        "Feedback-Type: auth-failure\nVersion: 1\n",
        &["failure_report"],
    );
}

#[test]
fn transfer_encodings() {
    let encoding = |encoding| format!("Content-Transfer-Encoding: {encoding}");
    check_part(&encoding("8bit"), REPORT, &["report"]);
    check_part(&encoding("base64"), REPORT, &["report"]);
    check_part(
        &encoding("Quoted-Printable"),
        &REPORT.replace("<row", "=3Crow"),
        &["report"],
    );
    check_part(&encoding("x-unknown"), REPORT, &["report"]);
}

#[test]
fn multiparts() {
    let part = format!("Content-Type: text/xml\n\n{REPORT}\n");
    let multipart = |boundary: &str, body: &str| {
        format!("Content-Type: multipart/mixed; boundary={boundary}\n\n{body}")
    };
    check(&multipart("b", &format!("--b\n{part}--b--\n")), &["report"]);
    check(&multipart("b", &format!("--b\n{part}")), &["report"]);
    check(
        &multipart("b", &format!("--b \n{part}--b\n{part}--b--\n{part}")),
        &["report", "report"],
    );
    check(
        &multipart("\"b ;=(\"", &format!("x\n--b ;=(\n{part}--b ;=(--")),
        &["report"],
    );
    check(&multipart("b", "no parts at all"), &["no_report"]);
    check(&multipart("b", REPORT), &["report"]);
    check(&multipart("b", "--b\n--b\n\n--b--"), &["no_report"]);
    // The boundary of the outer one begins like that of the inner one.
    let inner = multipart("bb", &format!("--bb\n{part}--bb--\n"));
    check(
        &multipart("b", &format!("--b\n{inner}--b\n{part}--b--\n")),
        &["report", "report"],
    );
    // An inner multipart without end is closed by the outer one.
    let inner = multipart("c", &format!("--c\n{part}"));
    check(
        &multipart("b", &format!("--b\n{inner}\n--b\n{part}--b--\n")),
        &["report", "report"],
    );
}

#[test]
fn messages_in_messages() {
    let inner = format!("Subject: x\nContent-Type: text/xml\n\n{REPORT}");
    let nest = |message: &str| format!("Content-Type: message/rfc822\n\n{message}");
    check(&nest(&inner), &["report"]);
    check(&nest(&nest(&nest(&inner))), &["report"]);
    check(
        &nest(&nest(&nest(&nest(&nest(&inner))))),
        &["too_many_parts"],
    );
    let digest = format!("Content-Type: multipart/digest; boundary=b\n\n--b\n\n{inner}\n--b--\n");
    check(&digest, &["report"]);
    check_part(
        "Content-Disposition: attachment; filename=a.eml",
        &inner,
        &["report"],
    );
    check(&nest("Subject: nothing\n\nhello"), &["no_report"]);
}

#[test]
fn headers_as_they_come() {
    check(
        &format!("ContentType : TEXT/XML (a comment)\n\n{REPORT}"),
        &["report"],
    );
    check(
        &format!("Subject: a\n b\n\tc\nContent-Type:\n text/xml;\n name=\n a.xml\n\n{REPORT}"),
        &["report"],
    );
    check(
        &format!("From a@b.example Thu Jan 1 1970\nSubject: x\n\n{REPORT}"),
        &["report"],
    );
    check(&format!("\n\nSubject: x\n\n{REPORT}"), &["report"]);
    check(&format!("Subject: no blank line\n{REPORT}"), &["report"]);
    check("Subject: nothing else", &["no_report"]);
}
