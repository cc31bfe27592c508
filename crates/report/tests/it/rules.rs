//! One rule each, on a report that is otherwise plain.

use report::{
    Disposition, DkimResult, Limits, Parser, PolicyPublished, Record, ReportMetadata, SpfResult,
    Summary, WarningCode, Xml,
};

use crate::outcome::{Outcome, read_bytes};

const METADATA: &str = "<org_name>r</org_name><email>a@r.example</email><report_id>1</report_id>\
    <date_range><begin>1700006400</begin><end>1700092799</end></date_range>";
const POLICY: &str = "<domain>d.example</domain><p>none</p>";
const RECORD: &str = "<row><source_ip>192.0.2.1</source_ip><count>2</count></row>";

#[track_caller]
fn read(metadata: &str, policy: &str, record: &str) -> (Summary, Vec<Record>) {
    let xml = format!(
        "<feedback><report_metadata>{metadata}</report_metadata><policy_published>{policy}\
         </policy_published><record>{record}</record></feedback>"
    );
    match read_bytes(xml).remove(0).1 {
        Outcome::Report(report) => *report,
        outcome => panic!("{outcome:?}"),
    }
}

#[track_caller]
fn metadata(extra: &str) -> ReportMetadata {
    read(&[METADATA, extra].concat(), POLICY, RECORD)
        .0
        .header
        .report_metadata
}

#[track_caller]
fn policy(extra: &str) -> PolicyPublished {
    read(METADATA, &[POLICY, extra].concat(), RECORD)
        .0
        .header
        .policy_published
}

#[track_caller]
fn record(extra: &str) -> Record {
    read(METADATA, POLICY, &[RECORD, extra].concat())
        .1
        .remove(0)
}

#[track_caller]
fn evaluated(content: &str) -> Record {
    let row = format!("<row><policy_evaluated>{content}</policy_evaluated>");
    read(METADATA, POLICY, &RECORD.replace("<row>", &row))
        .1
        .remove(0)
}

#[track_caller]
fn warnings(metadata: &str, policy: &str, record: &str) -> Vec<(WarningCode, String)> {
    let (summary, _) = read(metadata, policy, record);
    let warnings = summary.warnings.into_iter();
    warnings
        .map(|warning| (warning.code, warning.element))
        .collect()
}

#[test]
fn a_plain_report_has_no_warnings() {
    assert_eq!(warnings(METADATA, POLICY, RECORD), []);
}

#[test]
fn email_is_the_address_alone() {
    let check = |written: &str, expected: &str| {
        let text = METADATA.replace("a@r.example", written);
        let (summary, _) = read(&text, POLICY, RECORD);
        assert_eq!(
            summary.header.report_metadata.email.as_deref(),
            Some(expected)
        );
    };
    check("&lt;a@b.example&gt;", "a@b.example");
    check("Postmaster &lt;a@b.example&gt;", "a@b.example");
    check(" a@b.example\n", "a@b.example");
    check("see our web page", "see our web page");
}

#[test]
fn report_ids_are_opaque_but_for_one_pair_of_brackets() {
    let check = |written: &str, kept: &str, key: &str| {
        let text = METADATA.replace("<report_id>1<", &format!("<report_id>{written}<"));
        let metadata = read(&text, POLICY, RECORD).0.header.report_metadata;
        assert_eq!(
            (metadata.report_id.as_str(), metadata.report_id_key()),
            (kept, key)
        );
    };
    check("&lt;1@r&gt;", "<1@r>", "1@r");
    check("&lt;&lt;1&gt;&gt;", "<<1>>", "<1>");
    check(" a b!c:1@r ", "a b!c:1@r", "a b!c:1@r");
    check("&lt;1", "<1", "<1");
}

#[test]
fn errors_are_listed_and_empty_ones_left_out() {
    let metadata = metadata("<error>one</error><error/><error> two </error>");
    assert_eq!(metadata.error, ["one", "two"]);
}

#[test]
fn errors_without_end_are_left_out() {
    let error = |length| format!("<error>{}</error>", "x".repeat(length));
    let check = |written: String, expected: &[usize]| {
        let kept = metadata(&written).error;
        assert_eq!(kept.iter().map(String::len).collect::<Vec<_>>(), expected);
        let written = [METADATA, &written].concat();
        let omitted = (WarningCode::Omitted, "report_metadata/error".into());
        assert_eq!(warnings(&written, POLICY, RECORD), [omitted]);
    };
    check(error(3).repeat(101), &[3; 100]);
    check(error(1_999).repeat(64), &[1_999; 10]);
    check(
        error(1_999).repeat(11) + &error(10),
        &[&[1_999; 10][..], &[10]].concat(),
    );
}

#[test]
fn a_summary_tells_what_its_texts_take() {
    let (short, _) = read(METADATA, POLICY, RECORD);
    let errors = format!("<error>{}</error>", "x".repeat(2_000)).repeat(5);
    let (long, _) = read(&[METADATA, &errors].concat(), POLICY, RECORD);
    assert!(long.size_bytes() >= short.size_bytes() + 10_000);
    let odd = "<odd>?</odd>".repeat(60).replace("odd", "o");
    let (warned, _) = read(METADATA, POLICY, &[RECORD, &odd].concat());
    assert_eq!(warned.warnings.len(), 1);
    assert!(warned.size_bytes() > short.size_bytes());
}

#[test]
fn policies_in_any_case_and_unknown_ones_null() {
    assert_eq!(policy("<sp> REJECT </sp>").sp, Some(report::Policy::Reject));
    assert_eq!(policy("<sp>nil</sp>").sp, None);
    assert_eq!(policy("<sp/>").sp, None);
    assert_eq!(policy("<pct>0</pct>").pct, Some(0));
    assert_eq!(policy("<pct>100</pct>").pct, Some(100));
    assert_eq!(policy("<pct>300</pct>").pct, None);
    assert_eq!(policy("<testing>Y</testing>").testing, Some(true));
    assert_eq!(policy("<fo> 1:d </fo>").fo.as_deref(), Some("1:d"));
    let unknown = [(WarningCode::UnknownValue, "policy_published/sp".to_owned())];
    assert_eq!(
        warnings(METADATA, &[POLICY, "<sp>nil</sp>"].concat(), RECORD),
        unknown
    );
}

#[test]
fn policy_domain_is_lower_case_and_kept_as_reported() {
    let domain = |written: &str| {
        let text = POLICY.replace("d.example", written);
        let policy = read(METADATA, &text, RECORD).0.header.policy_published;
        (policy.domain, policy.domain_as_reported)
    };
    assert_eq!(domain("d.example"), ("d.example".into(), None));
    assert_eq!(domain(" d.example "), ("d.example".into(), None));
    assert_eq!(
        domain("D.Example."),
        ("d.example".into(), Some("D.Example.".into()))
    );
    assert_eq!(domain("B\u{dc}CHER.example").0, "b\u{fc}cher.example");
}

#[test]
fn periods_beyond_a_day_and_some_are_flagged() {
    let check = |end: &str, code: Option<WarningCode>| {
        let text = METADATA.replace("1700092799", end);
        let codes = warnings(&text, POLICY, RECORD);
        assert_eq!(codes.first().map(|(code, _)| *code), code, "{end}");
    };
    check("1700006400", None);
    check("1700103600", None);
    check("1700103601", Some(WarningCode::PeriodLong));
    check("1700006399", Some(WarningCode::PeriodReversed));
}

#[test]
fn alignment_is_pass_or_fail_or_not_known() {
    let check = |word: &str, expected: Option<bool>, odd: usize| {
        let record = evaluated(&format!("<dkim>{word}</dkim>"));
        assert_eq!(
            (record.dkim_aligned, record.odd_values.len()),
            (expected, odd),
            "{word}"
        );
        assert_eq!(record.dmarc_pass(), expected == Some(true));
    };
    check("pass", Some(true), 0);
    check(" Pass\n", Some(true), 0);
    check("fail", Some(false), 0);
    check("", None, 0);
    check("none", None, 1);
    check("softfail", None, 1);
}

#[test]
fn dispositions() {
    let disposition =
        |word: &str| evaluated(&format!("<disposition>{word}</disposition>")).disposition;
    assert_eq!(disposition("None"), Some(Disposition::None));
    assert_eq!(disposition("pass"), Some(Disposition::Pass));
    assert_eq!(disposition("softfail"), None);
}

#[test]
fn reasons_in_all_their_shapes() {
    let reasons = |content: &str| -> Vec<(Option<String>, Option<String>)> {
        let reasons = evaluated(content).reasons.into_iter();
        let text = |text: Option<_>| text.map(|text: compact_str::CompactString| text.to_string());
        reasons
            .map(|reason| (text(reason.kind), text(reason.comment)))
            .collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(reasons("<reason/>"), []);
    assert_eq!(reasons("<reason><type/><comment/></reason>"), []);
    assert_eq!(
        reasons("<reason> Sampled_Out </reason>"),
        [(some("sampled_out"), None)]
    );
    assert_eq!(
        reasons("<reason><comment>c</comment></reason>"),
        [(None, some("c"))]
    );
    assert_eq!(
        reasons("<reason><type>x</type></reason><reason><type>other</type></reason>"),
        [(some("x"), None), (some("other"), None)]
    );
}

#[test]
fn identifiers_are_domains() {
    let header_from = |written: &str| {
        let element = format!("<identities><header_from>{written}</header_from></identities>");
        record(&element).header_from.map(String::from)
    };
    assert_eq!(header_from("D.Example").as_deref(), Some("d.example"));
    assert_eq!(
        header_from("N &lt;a@D.example&gt;").as_deref(),
        Some("d.example")
    );
    assert_eq!(header_from("").as_deref(), None);
    assert_eq!(header_from("&lt;&gt;").as_deref(), None);
}

#[test]
fn results_beyond_the_format() {
    let dkim = |word: &str| {
        let content = format!(
            "<auth_results><dkim><domain>d</domain><result>{word}</result></dkim></auth_results>"
        );
        record(&content).dkim[0].result
    };
    assert_eq!(dkim("Pass"), Some(DkimResult::Pass));
    assert_eq!(dkim("hardfail"), Some(DkimResult::Fail));
    assert_eq!(dkim("invalid"), None);
    let spf = |word: &str| {
        let content = format!(
            "<auth_results><spf><domain>d</domain><result>{word}</result></spf></auth_results>"
        );
        record(&content).spf[0].result
    };
    assert_eq!(spf("hardfail"), Some(SpfResult::Fail));
    assert_eq!(spf("Unknown"), Some(SpfResult::TempError));
    assert_eq!(spf("error"), Some(SpfResult::PermError));
    assert_eq!(spf("policy"), Some(SpfResult::Policy));
    assert_eq!(spf("x"), None);
}

#[test]
fn a_sum_beyond_what_can_be_stored_skips_the_record() {
    let large = "<row><source_ip>::1</source_ip><count>9223372036854775807</count></row>";
    let (summary, records) = read(
        METADATA,
        POLICY,
        &format!("{RECORD}</record><record>{large}"),
    );
    assert_eq!(
        (records.len(), summary.skipped_count, summary.message_count),
        (1, 1, 2)
    );
}

#[test]
fn foreign_elements_are_extensions() {
    let content = format!("{RECORD}<e:x xmlns:e='u'><e:y/></e:x><z xmlns='u'/>");
    assert_eq!(warnings(METADATA, POLICY, &content), []);
}

#[test]
fn warnings_do_not_grow_without_end() {
    let unknown: String = (0..1000).map(|number| format!("<x{number}/>")).collect();
    let found = warnings(METADATA, POLICY, &[RECORD, &unknown].concat());
    assert_eq!(found.len(), 64);
}

#[test]
fn chunks_hold_no_more_than_asked_for() {
    let record = format!("<record>{RECORD}</record>");
    let xml = format!(
        "<feedback><report_metadata>{METADATA}</report_metadata><policy_published>{POLICY}\
         </policy_published>{}</feedback>",
        record.repeat(7)
    );
    let mut parser = Parser::open(&Xml::from_bytes(xml), &Limits::default()).unwrap();
    let mut sizes = Vec::new();
    loop {
        let mut records = Vec::new();
        let has_more = parser.read_records(&mut records, 3).unwrap();
        sizes.push(records.len());
        if !has_more {
            break;
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert!(!parser.read_records(&mut Vec::new(), 3).unwrap());
}

#[test]
fn readers_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Parser>();
    is_send::<report::Body>();
    is_send::<report::Document>();
    is_send::<report::Error>();
}
