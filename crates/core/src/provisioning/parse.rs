//! Reading a template: its sections, its functions, and everything about it that can be wrong before a device comes.

use std::collections::BTreeMap;

use fleetward_base::limits;
use serde_json::{Map, Value};

use super::evaluate::PSEUDO;
use super::plan::{Override, Overrides};
use super::{Expr, Parameter, Piece, Policy, Template, TemplateError, Thing};

type Result<T> = std::result::Result<T, TemplateError>;

impl Template {
    /// Reads a template: its body, or what AWS calls a registration configuration, which holds the body as a text.
    ///
    /// # Errors
    /// [`TemplateError`] with the path of what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > limits::TEMPLATE_BYTES {
            return Err(TemplateError::new("", format!("longer than {} bytes", limits::TEMPLATE_BYTES)));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| TemplateError::new("", format!("not JSON: {error}")))?;
        match value.get("templateBody") {
            Some(Value::String(body)) => {
                let body: Value = serde_json::from_str(body)
                    .map_err(|error| TemplateError::new("templateBody", format!("not JSON: {error}")))?;
                read(&body)
            }
            Some(body @ Value::Object(_)) => read(body),
            _ => read(&value),
        }
    }
}

fn read(value: &Value) -> Result<Template> {
    let sections = object("", value)?;
    depth(value)?;
    let mut parameters = BTreeMap::new();
    let mut mappings = BTreeMap::new();
    let mut warnings = Vec::new();
    for (name, section) in sections {
        match name.as_str() {
            "Parameters" => parameters = read_parameters(object(name, section)?)?,
            "Mappings" => mappings = read_mappings(object(name, section)?)?,
            "Resources" | "DeviceConfiguration" => {}
            "AWSTemplateFormatVersion" | "Description" | "Metadata" => {}
            _ => return Err(TemplateError::new(name, "not a section of a provisioning template")),
        }
    }
    let scope = Scope { parameters: &parameters, mappings: &mappings };
    let resources = sections.get("Resources").ok_or_else(|| TemplateError::new("Resources", "is missing"))?;
    let mut found = Resources::default();
    for (name, resource) in object("Resources", resources)? {
        read_resource(&scope, &format!("Resources.{name}"), resource, &mut found, &mut warnings)?;
    }
    let configuration = match sections.get("DeviceConfiguration") {
        Some(section) => scope.entries("DeviceConfiguration", object("DeviceConfiguration", section)?)?,
        None => BTreeMap::new(),
    };
    let thing = found.thing.ok_or_else(|| TemplateError::new("Resources", "has no AWS::IoT::Thing"))?;
    warnings.extend(unnamed(&thing, &parameters));
    Ok(Template {
        parameters,
        mappings,
        thing,
        status: found.status,
        policies: found.policies,
        configuration,
        warnings,
    })
}

/// What a device is named by where the template does not say it.
fn unnamed(thing: &Thing, parameters: &BTreeMap<String, Parameter>) -> Option<String> {
    if thing.name.is_some() {
        return None;
    }
    let by = Thing::named_by(parameters);
    Some(format!("{}.Properties.ThingName: is missing; devices are named by {by}", thing.path))
}

impl Thing {
    /// The parameter that a thing without `ThingName` is named by.
    pub(crate) fn named_by(parameters: &BTreeMap<String, Parameter>) -> &'static str {
        ["ThingName", "SerialNumber"]
            .into_iter()
            .find(|name| parameters.contains_key(*name))
            .unwrap_or("AWS::IoT::Certificate::CommonName")
    }
}

fn read_parameters(section: &Map<String, Value>) -> Result<BTreeMap<String, Parameter>> {
    if section.len() > limits::TEMPLATE_PARAMETERS {
        return Err(TemplateError::new("Parameters", format!("more than {}", limits::TEMPLATE_PARAMETERS)));
    }
    let mut parameters = BTreeMap::new();
    for (name, declared) in section {
        let path = format!("Parameters.{name}");
        if name.starts_with("AWS::") && !PSEUDO.contains(&name.as_str()) {
            return Err(TemplateError::new(path, format!("no such pseudo parameter; there are {}", PSEUDO.join(", "))));
        }
        if name.is_empty() || name.len() > limits::TEMPLATE_PARAMETER_NAME_BYTES {
            let why = format!("a name has 1 to {} bytes", limits::TEMPLATE_PARAMETER_NAME_BYTES);
            return Err(TemplateError::new(path, why));
        }
        let declared = object(&path, declared)?;
        let mut default = None;
        for (key, value) in declared {
            let path = format!("{path}.{key}");
            match (key.as_str(), value) {
                ("Type", Value::String(kind)) if kind == "String" => {}
                ("Type", _) => return Err(TemplateError::new(path, "must be \"String\", as AWS has it")),
                ("Default", Value::String(text)) => default = Some(text.clone()),
                ("Default", Value::Number(number)) => default = Some(number.to_string()),
                ("Default", _) => return Err(TemplateError::new(path, "must be a text")),
                ("Description" | "NoEcho", _) => {}
                _ => return Err(TemplateError::new(path, "not known here")),
            }
        }
        if !declared.contains_key("Type") {
            return Err(TemplateError::new(format!("{path}.Type"), "is missing"));
        }
        parameters.insert(name.clone(), Parameter { default });
    }
    Ok(parameters)
}

type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>;

/// Two levels of names, then texts or lists of texts; functions have no place here.
fn read_mappings(section: &Map<String, Value>) -> Result<Mappings> {
    let mut mappings = BTreeMap::new();
    for (map, keys) in section {
        let path = format!("Mappings.{map}");
        let mut first = BTreeMap::new();
        for (key, values) in object(&path, keys)? {
            let path = format!("{path}.{key}");
            let mut second = BTreeMap::new();
            for (name, value) in object(&path, values)? {
                let path = format!("{path}.{name}");
                let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
                let good = plain(value) || value.as_array().is_some_and(|list| list.iter().all(plain));
                if !good {
                    return Err(TemplateError::new(path, "must be a text or a list of texts, without functions"));
                }
                second.insert(name.clone(), value.clone());
            }
            first.insert(key.clone(), second);
        }
        mappings.insert(map.clone(), first);
    }
    Ok(mappings)
}

#[derive(Default)]
struct Resources {
    thing: Option<Thing>,
    certificate: bool,
    status: Option<Expr>,
    policies: Vec<Policy>,
}

fn read_resource(
    scope: &Scope<'_>,
    path: &str,
    resource: &Value,
    found: &mut Resources,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let resource = object(path, resource)?;
    for key in resource.keys() {
        if !matches!(key.as_str(), "Type" | "Properties" | "OverrideSettings") {
            return Err(TemplateError::new(format!("{path}.{key}"), "not known here"));
        }
    }
    let empty = Map::new();
    let part = |name: &str| match resource.get(name) {
        Some(value) => object(&format!("{path}.{name}"), value),
        None => Ok(&empty),
    };
    let (properties, overrides) = (part("Properties")?, part("OverrideSettings")?);
    match resource.get("Type").and_then(Value::as_str) {
        Some("AWS::IoT::Thing") => {
            if found.thing.is_some() {
                return Err(TemplateError::new(path, "a second AWS::IoT::Thing"));
            }
            found.thing = Some(read_thing(scope, path, properties, overrides)?);
        }
        Some("AWS::IoT::Certificate") => {
            if std::mem::replace(&mut found.certificate, true) {
                return Err(TemplateError::new(path, "a second AWS::IoT::Certificate"));
            }
            found.status = read_certificate(scope, path, properties, warnings)?;
        }
        Some("AWS::IoT::Policy") => found.policies.push(read_policy(scope, path, properties, warnings)?),
        Some(_) => {
            let why = "must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy";
            return Err(TemplateError::new(format!("{path}.Type"), why));
        }
        None => return Err(TemplateError::new(format!("{path}.Type"), "is missing")),
    }
    Ok(())
}

fn read_thing(
    scope: &Scope<'_>,
    path: &str,
    properties: &Map<String, Value>,
    overrides: &Map<String, Value>,
) -> Result<Thing> {
    let mut thing = Thing { path: path.to_owned(), ..Thing::default() };
    for (key, value) in properties {
        let at = format!("{path}.Properties.{key}");
        let read = scope.expression(&at, value)?;
        match key.as_str() {
            "ThingName" => thing.name = Some(read),
            "AttributePayload" => thing.attributes = Some(read),
            "ThingTypeName" => thing.kind = Some(read),
            "ThingGroups" => thing.groups = Some(read),
            "BillingGroup" => thing.billing_group = Some(read),
            _ => return Err(TemplateError::new(at, "not a property of a thing")),
        }
    }
    thing.overrides = read_overrides(path, overrides)?;
    Ok(thing)
}

/// The names as the examples of AWS write them, and as its text does.
fn read_overrides(path: &str, settings: &Map<String, Value>) -> Result<Overrides> {
    let mut overrides = Overrides::default();
    for (key, value) in settings {
        let at = format!("{path}.OverrideSettings.{key}");
        let text = value.as_str().unwrap_or_default();
        let action = match text {
            "DO_NOTHING" => Override::DoNothing,
            "REPLACE" => Override::Replace,
            "FAIL" => Override::Fail,
            "MERGE" => Override::Merge,
            _ => return Err(TemplateError::new(at, "must be DO_NOTHING, REPLACE, FAIL or MERGE")),
        };
        match key.as_str() {
            "AttributePayload" | "ATTRIBUTE_PAYLOAD" => overrides.attributes = Some(action),
            "ThingGroups" | "THING_GROUPS" => overrides.groups = Some(action),
            "ThingTypeName" | "THING_TYPE_NAME" if action == Override::Merge => {
                return Err(TemplateError::new(at, "MERGE is for AttributePayload and ThingGroups"));
            }
            "ThingTypeName" | "THING_TYPE_NAME" => overrides.kind = Some(action),
            _ => return Err(TemplateError::new(at, "not a property that can be overridden")),
        }
    }
    Ok(overrides)
}

fn read_certificate(
    scope: &Scope<'_>,
    path: &str,
    properties: &Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<Option<Expr>> {
    let mut status = None;
    for (key, value) in properties {
        let at = format!("{path}.Properties.{key}");
        let read = scope.expression(&at, value)?;
        match key.as_str() {
            "Status" => status = Some(read),
            "CertificateId" | "CertificateID" => {
                if !matches!(&read, Expr::Ref(name) if name.to_ascii_lowercase().ends_with("id")) {
                    warnings.push(format!("{at}: is not looked at; the certificate is the one that was asked for"));
                }
            }
            "CertificateSigningRequest"
            | "CertificatePem"
            | "CACertificatePem"
            | "CertificateMode"
            | "ThingPrincipalType" => {
                warnings.push(format!("{at}: is not looked at; the certificate comes from the device's connection"));
            }
            _ => return Err(TemplateError::new(at, "not a property of a certificate")),
        }
    }
    Ok(status)
}

fn read_policy(
    scope: &Scope<'_>,
    path: &str,
    properties: &Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<Policy> {
    for key in properties.keys() {
        if !matches!(key.as_str(), "PolicyName" | "PolicyDocument") {
            return Err(TemplateError::new(format!("{path}.Properties.{key}"), "not a property of a policy"));
        }
    }
    warnings.push(format!(
        "{path}: grants nothing here; what a device may do follows from its name and status (docs/topics.md)"
    ));
    match properties.get("PolicyName") {
        Some(name) => Ok(Policy::Named(scope.expression(&format!("{path}.Properties.PolicyName"), name)?)),
        None if properties.contains_key("PolicyDocument") => Ok(Policy::Inline),
        None => {
            let at = format!("{path}.Properties");
            Err(TemplateError::new(at, "must have a PolicyName or a PolicyDocument"))
        }
    }
}

/// What functions may name.
struct Scope<'a> {
    parameters: &'a BTreeMap<String, Parameter>,
    mappings: &'a Mappings,
}

impl Scope<'_> {
    fn entries(&self, path: &str, map: &Map<String, Value>) -> Result<BTreeMap<String, Expr>> {
        map.iter().map(|(key, value)| Ok((key.clone(), self.expression(&format!("{path}.{key}"), value)?))).collect()
    }

    fn expression(&self, path: &str, value: &Value) -> Result<Expr> {
        match value {
            Value::String(text) => Ok(Expr::Text(text.clone())),
            Value::Array(list) => self.list(path, list),
            Value::Object(map) => match map.iter().next() {
                Some((name, argument)) if name == "Ref" || name.starts_with("Fn::") => {
                    let path = format!("{path}.{name}");
                    if map.len() > 1 {
                        return Err(TemplateError::new(path, "a function stands alone in its object"));
                    }
                    self.function(&path, name, argument)
                }
                _ => {
                    let function = map.keys().find(|name| *name == "Ref" || name.starts_with("Fn::"));
                    match function {
                        Some(name) => {
                            Err(TemplateError::new(format!("{path}.{name}"), "a function stands alone in its object"))
                        }
                        None => Ok(Expr::Map(self.entries(path, map)?)),
                    }
                }
            },
            plain => Ok(Expr::Plain(plain.clone())),
        }
    }

    fn list(&self, path: &str, list: &[Value]) -> Result<Expr> {
        let items = list.iter().enumerate();
        let items: Result<_> = items.map(|(at, item)| self.expression(&format!("{path}[{at}]"), item)).collect();
        Ok(Expr::List(items?))
    }

    fn function(&self, path: &str, name: &str, argument: &Value) -> Result<Expr> {
        match (name, argument) {
            ("Ref", Value::String(to)) => {
                self.known(path, to)?;
                Ok(Expr::Ref(to.clone()))
            }
            ("Ref", _) => Err(TemplateError::new(path, "takes the name of a parameter")),
            ("Fn::Sub", Value::String(text)) => self.sub(path, text, BTreeMap::new()),
            ("Fn::Sub", Value::Array(list)) => match list.as_slice() {
                [Value::String(text)] => self.sub(path, text, BTreeMap::new()),
                [Value::String(text), Value::Object(map)] => {
                    let variables = self.entries(&format!("{path}[1]"), map)?;
                    self.sub(path, text, variables)
                }
                _ => Err(TemplateError::new(path, "takes a text, or a text and a map of variables")),
            },
            ("Fn::Sub", _) => Err(TemplateError::new(path, "takes a text, or a text and a map of variables")),
            ("Fn::Join", Value::Array(list)) => match list.as_slice() {
                [Value::String(by), values] => {
                    Ok(Expr::Join(by.clone(), Box::new(self.listed(&format!("{path}[1]"), values)?)))
                }
                _ => Err(TemplateError::new(path, "takes a delimiter and a list of values")),
            },
            ("Fn::Split", Value::Array(list)) => match list.as_slice() {
                [Value::String(by), text] if !by.is_empty() => {
                    Ok(Expr::Split(by.clone(), Box::new(self.expression(&format!("{path}[1]"), text)?)))
                }
                _ => Err(TemplateError::new(path, "takes a delimiter that is not empty, and a text")),
            },
            ("Fn::Select", Value::Array(list)) => match list.as_slice() {
                [index, values] => {
                    let index = self.expression(&format!("{path}[0]"), index)?;
                    Ok(Expr::Select(Box::new(index), Box::new(self.listed(&format!("{path}[1]"), values)?)))
                }
                _ => Err(TemplateError::new(path, "takes an index and a list of values")),
            },
            ("Fn::FindInMap", Value::Array(list)) => match list.as_slice() {
                [map, first, second] => self.find(path, map, first, second),
                _ => Err(TemplateError::new(path, "takes the name of a map and two keys")),
            },
            ("Fn::Join" | "Fn::Split" | "Fn::Select" | "Fn::FindInMap", _) => {
                Err(TemplateError::new(path, "takes a list of arguments"))
            }
            _ => {
                let why = "no such function; there are Ref, Fn::Join, Fn::Sub, Fn::Select, Fn::Split and Fn::FindInMap";
                Err(TemplateError::new(path, why))
            }
        }
    }

    fn find(&self, path: &str, map: &Value, first: &Value, second: &Value) -> Result<Expr> {
        if let Some(name) = map.as_str()
            && !self.mappings.contains_key(name)
        {
            return Err(TemplateError::new(path, format!("there is no Mappings.{}", shown(name))));
        }
        let read = |at: usize, value: &Value| self.expression(&format!("{path}[{at}]"), value);
        Ok(Expr::FindInMap(Box::new([read(0, map)?, read(1, first)?, read(2, second)?])))
    }

    /// A list, or a function that may give one.
    fn listed(&self, path: &str, value: &Value) -> Result<Expr> {
        match self.expression(path, value)? {
            Expr::Text(_) | Expr::Plain(_) | Expr::Map(_) | Expr::Join(..) | Expr::Sub(..) => {
                Err(TemplateError::new(path, "must be a list"))
            }
            list => Ok(list),
        }
    }

    /// `${Name}` is a variable, `${!Name}` the text `${Name}`.
    fn sub(&self, path: &str, text: &str, variables: BTreeMap<String, Expr>) -> Result<Expr> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or_else(|| TemplateError::new(path, "a ${ without its }"))?;
            pieces.push(Piece::Text(before.to_owned()));
            if let Some(literal) = name.strip_prefix('!') {
                pieces.push(Piece::Text(format!("${{{literal}}}")));
            } else {
                let name = name.trim();
                if !variables.contains_key(name) {
                    self.known(path, name)?;
                }
                pieces.push(Piece::Variable(name.to_owned()));
            }
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Expr::Sub(pieces, variables))
    }

    fn known(&self, path: &str, name: &str) -> Result<()> {
        if self.parameters.contains_key(name) || PSEUDO.contains(&name) {
            return Ok(());
        }
        Err(TemplateError::new(path, format!("there is no parameter {}", shown(name))))
    }
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| TemplateError::new(path, "must be an object"))
}

/// A name from a template within a message: quoted, and not at any length.
pub(crate) fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(64).collect::<String>())
}

/// That the document nests no deeper than the limit, found without going deeper than that.
fn depth(value: &Value) -> Result<()> {
    fn within(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(list) => left > 0 && list.iter().all(|item| within(item, left - 1)),
            Value::Object(map) => left > 0 && map.values().all(|item| within(item, left - 1)),
            _ => true,
        }
    }
    if within(value, limits::TEMPLATE_DEPTH) {
        return Ok(());
    }
    Err(TemplateError::new("", format!("nests deeper than {} levels", limits::TEMPLATE_DEPTH)))
}
