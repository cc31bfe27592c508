//! Any bytes as a delivery: every document in it is read to its end.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use report::{Body, Code, Content, Limits, Parser, unpack};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        // Small enough for the fuzzer to reach.
        message_bytes: 64 * 1024,
        record_gap_bytes: 64 * 1024,
        report_bytes: 256 * 1024,
        delivery_bytes: 1024 * 1024,
        members: 8,
        mime_parts: 20,
        ..Limits::default()
    };
    let body = Body::Memory(Bytes::copy_from_slice(bytes));
    let documents = unpack(&body, &limits).expect("memory can be read");
    assert!(!documents.is_empty());
    for document in documents {
        match document.content {
            Content::Xml(xml) => {
                let Ok(mut parser) = Parser::open(&xml, &limits) else {
                    continue;
                };
                let mut records = Vec::new();
                while let Ok(true) = parser.read_records(&mut records, 10) {}
            }
            Content::Rejected(error) => assert_ne!(error.code, Code::Io),
            Content::TlsReport | Content::FailureReport | Content::NoReport => {}
        }
    }
});
