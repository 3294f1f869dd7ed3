//! The topics of the light mode: `devices/{device}/config/{desired|reported|rejected}`.
//!
//! Payloads are the sections of a shadow as plain JSON objects; a refusal has the body of the AWS contract.

/// Which half of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Desired,
    Reported,
}

const PREFIX: &str = "devices/";

impl Section {
    const fn end(self) -> &'static str {
        match self {
            Self::Desired => "/config/desired",
            Self::Reported => "/config/reported",
        }
    }
}

/// Where the section of a device is retained.
pub fn topic(device: &str, section: Section) -> String {
    format!("{PREFIX}{device}{}", section.end())
}

/// Where a device hears why what it reported was refused.
pub fn rejected(device: &str) -> String {
    format!("{PREFIX}{device}/config/rejected")
}

/// The device and section of a topic name of the light mode.
pub fn parse(topic: &str) -> Option<(&str, Section)> {
    let rest = topic.strip_prefix(PREFIX)?;
    let (device, section) = [Section::Desired, Section::Reported]
        .into_iter()
        .find_map(|section| Some((rest.strip_suffix(section.end())?, section)))?;
    (!device.is_empty() && !device.contains('/')).then_some((device, section))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics() {
        assert_eq!(parse("devices/gw-1/config/desired"), Some(("gw-1", Section::Desired)));
        assert_eq!(parse("devices/gw-1/config/reported"), Some(("gw-1", Section::Reported)));
        for other in [
            "",
            "devices/gw-1/config",
            "devices/gw-1/config/",
            "devices/gw-1/config/rejected",
            "devices/gw-1/config/desired/x",
            "devices//config/desired",
            "devices/config/desired",
            "devices/gw-1/x/config/desired",
            "telemetry/gw-1/config/desired",
            "/devices/gw-1/config/desired",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(rejected("gw-1"), "devices/gw-1/config/rejected");
    }

    proptest! {
        #[test]
        fn parsing_inverts_formatting(device in "[a-zA-Z0-9:_-]{1,128}", desired: bool) {
            let section = if desired { Section::Desired } else { Section::Reported };
            let written = topic(&device, section);
            prop_assert_eq!(parse(&written), Some((device.as_str(), section)));
        }

        #[test]
        fn any_text_is_taken(text in "(devices/)?.{0,20}(/config/(desired|reported))?") {
            if let Some((device, section)) = parse(&text) {
                prop_assert_eq!(topic(device, section), text);
            }
        }
    }
}
