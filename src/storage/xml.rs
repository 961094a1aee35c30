//! Pure: XML of answers, and how S3, Azure and Google's XML API put an error in words: all with code and message.

use serde::Deserialize;

use super::failure::{Failure, Kind};

#[derive(Debug, Default, Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "Code", default)]
    code: String,
    #[serde(rename = "Message", default)]
    message: String,
}

/// Code and message of an error; of the message the first line, the others name the request and when it came.
pub(super) fn error(text: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(answer) = parse::<ErrorAnswer>(text) else { return (None, None) };
    let first = answer.message.lines().next().unwrap_or_default().trim().to_owned();
    (Some(answer.code).filter(|code| !code.is_empty()), Some(first).filter(|message| !message.is_empty()))
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Result<T, Failure> {
    let bad = |cause: String| Failure::new(Kind::Rejected, "NotXml", format!("the answer cannot be read: {cause}"));
    let text = std::str::from_utf8(text).map_err(|error| bad(error.to_string()))?;
    quick_xml::de::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_code_and_first_line() {
        let text = b"<?xml version=\"1.0\"?><Error><Code>ServerBusy</Code><Message>Wait.\nRequestId:1\nTime:2</Message></Error>";
        assert_eq!(error(text), (Some("ServerBusy".into()), Some("Wait.".into())));
        assert_eq!(error(b"<html>"), (None, None));
    }
}
