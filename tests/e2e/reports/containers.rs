//! The ways in which reports are packed.

use std::io::{Cursor, Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Xml,
    Gzip,
    Zip,
    MailGzip,
    MailZip,
}

impl Container {
    pub(crate) const ALL: [Self; 5] = [
        Self::Xml,
        Self::Gzip,
        Self::Zip,
        Self::MailGzip,
        Self::MailZip,
    ];

    pub(crate) fn pack(self, xml: &[u8]) -> Vec<u8> {
        match self {
            Self::Xml => xml.to_vec(),
            Self::Gzip => gzip(xml),
            Self::Zip => zip(&[("report.xml", xml)]),
            Self::MailGzip => mail(&gzip(xml)),
            Self::MailZip => mail(&zip(&[("report.xml", xml)])),
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Xml => "xml",
            Self::Gzip => "xml.gz",
            Self::Zip => "zip",
            Self::MailGzip | Self::MailZip => "eml",
        }
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A message with one attachment.
pub(crate) fn mail(attachment: &[u8]) -> Vec<u8> {
    mail_with(&[attachment])
}

/// A message with any number of attachments.
pub(crate) fn mail_with(attachments: &[&[u8]]) -> Vec<u8> {
    let mut message = String::from(
        "From: dmarc@reporter.example\r\nTo: reports@example.com\r\nSubject: Report Domain: example.com\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nThis is an aggregate report.\r\n",
    );
    for (number, attachment) in attachments.iter().enumerate() {
        message.push_str(&format!(
            "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"report{number}\"\r\n\r\n"
        ));
        for line in BASE64_STANDARD.encode(attachment).as_bytes().chunks(76) {
            message.push_str(std::str::from_utf8(line).unwrap());
            message.push_str("\r\n");
        }
    }
    message.push_str("--b--\r\n");
    message.into_bytes()
}
