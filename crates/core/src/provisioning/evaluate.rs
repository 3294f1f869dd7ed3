//! Evaluating a template: texts out of functions, within a budget.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::limits;
use serde_json::{Map, Value};

use super::parse::shown;
use super::plan::Plan;
use super::{Configuration, Expr, Piece, Policy, Template, TemplateError, Thing};

/// The parameters that come from the device's certificate.
pub const PSEUDO: &[&str] = &[
    "AWS::IoT::Certificate::Id",
    "AWS::IoT::Certificate::CommonName",
    "AWS::IoT::Certificate::SerialNumber",
    "AWS::IoT::Certificate::Country",
    "AWS::IoT::Certificate::StateName",
    "AWS::IoT::Certificate::Organization",
    "AWS::IoT::Certificate::OrganizationalUnit",
    "AWS::IoT::Certificate::DistinguishedNameQualifier",
];

type Result<T> = std::result::Result<T, TemplateError>;

/// Bytes that may still be written.
#[derive(Clone, Copy, Debug)]
struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(limits::TEMPLATE_OUTPUT_BYTES)
    }
}

impl Budget {
    fn spend(&mut self, path: &str, bytes: usize) -> Result<()> {
        match self.0.checked_sub(bytes.saturating_add(1)) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                let why = format!("the template writes more than {} bytes", limits::TEMPLATE_OUTPUT_BYTES);
                Err(TemplateError::new(path, why))
            }
        }
    }
}

/// A value that was evaluated.
#[derive(Clone, Debug, PartialEq)]
enum Out {
    Text(String),
    Plain(Value),
    List(Vec<Out>),
    Map(BTreeMap<String, Out>),
}

impl Template {
    /// What the template makes of a device: `given` are the device's own parameters, `certificate` the pseudo parameters.
    ///
    /// # Errors
    /// [`TemplateError`] with the path of what is missing or does not fit.
    pub fn evaluate(
        &self,
        given: &BTreeMap<String, String>,
        certificate: &BTreeMap<&'static str, String>,
    ) -> Result<Plan> {
        check_given(given)?;
        let values = self.values(given, certificate)?;
        let mut run = Run { template: self, values, budget: Budget::default() };
        let thing = &self.thing;
        let at = |name: &str| format!("{}.Properties.{name}", thing.path);
        let name = match &thing.name {
            Some(name) => run.text(&at("ThingName"), name)?,
            None => run.value(&at("ThingName"), Thing::named_by(&self.parameters))?,
        };
        let device = name
            .parse()
            .map_err(|error: fleetward_base::BadId| TemplateError::new(at("ThingName"), error.to_string()))?;
        Ok(Plan {
            device,
            attributes: run.attributes(&at("AttributePayload"), thing.attributes.as_ref())?,
            kind: run.optional(&at("ThingTypeName"), thing.kind.as_ref())?,
            groups: run.groups(&at("ThingGroups"), thing.groups.as_ref())?,
            billing_group: run.optional(&at("BillingGroup"), thing.billing_group.as_ref())?,
            active: run.active(self.status.as_ref())?,
            policies: run.policies(&self.policies)?,
            overrides: thing.overrides,
            configuration: run.configuration(&self.configuration)?,
        })
    }

    /// What each name stands for: the certificate's own first, then the device's, then the default.
    fn values(
        &self,
        given: &BTreeMap<String, String>,
        certificate: &BTreeMap<&'static str, String>,
    ) -> Result<BTreeMap<String, String>> {
        let mut values: BTreeMap<String, String> =
            certificate.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        for (name, parameter) in &self.parameters {
            let pseudo = PSEUDO.contains(&name.as_str());
            let own = given.get(name).filter(|_| !pseudo);
            if values.contains_key(name) && pseudo {
                continue;
            }
            match own.or(parameter.default.as_ref()) {
                Some(value) => values.insert(name.clone(), value.clone()),
                None if pseudo => {
                    return Err(TemplateError::new(format!("Parameters.{name}"), "the certificate does not say it"));
                }
                None => return Err(TemplateError::new(format!("Parameters.{name}"), "has no value and no default")),
            };
        }
        Ok(values)
    }
}

/// What a device may send: nothing that would pass for its certificate's, and not at any size.
///
/// # Errors
/// [`TemplateError`] names the parameter.
pub fn check_given(given: &BTreeMap<String, String>) -> Result<()> {
    if given.len() > limits::TEMPLATE_PARAMETERS {
        return Err(TemplateError::new("parameters", format!("more than {}", limits::TEMPLATE_PARAMETERS)));
    }
    for (name, value) in given {
        let path = || format!("parameters.{}", name.chars().take(64).collect::<String>());
        if name.len() > limits::TEMPLATE_PARAMETER_NAME_BYTES {
            let why = format!("a name has {} bytes at most", limits::TEMPLATE_PARAMETER_NAME_BYTES);
            return Err(TemplateError::new(path(), why));
        }
        if name.starts_with("AWS::") {
            return Err(TemplateError::new(path(), "comes from the certificate, not from the device"));
        }
        if value.len() > limits::TEMPLATE_PARAMETER_BYTES {
            let why = format!("longer than {} bytes", limits::TEMPLATE_PARAMETER_BYTES);
            return Err(TemplateError::new(path(), why));
        }
        if value.chars().any(char::is_control) {
            return Err(TemplateError::new(path(), "must not hold control characters"));
        }
    }
    Ok(())
}

struct Run<'a> {
    template: &'a Template,
    values: BTreeMap<String, String>,
    budget: Budget,
}

impl Run<'_> {
    fn value(&mut self, path: &str, name: &str) -> Result<String> {
        let value = self.values.get(name);
        let value = value.ok_or_else(|| TemplateError::new(path, format!("{} has no value", shown(name))))?.clone();
        self.budget.spend(path, value.len())?;
        Ok(value)
    }

    fn evaluate(&mut self, path: &str, expression: &Expr) -> Result<Out> {
        match expression {
            Expr::Text(text) => {
                self.budget.spend(path, text.len())?;
                Ok(Out::Text(text.clone()))
            }
            Expr::Plain(value) => {
                self.budget.spend(path, 8)?;
                Ok(Out::Plain(value.clone()))
            }
            Expr::Ref(name) => Ok(Out::Text(self.value(path, name)?)),
            Expr::Join(by, values) => self.join(path, by, values).map(Out::Text),
            Expr::Sub(pieces, variables) => self.sub(path, pieces, variables).map(Out::Text),
            Expr::Select(index, values) => self.select(path, index, values),
            Expr::Split(by, text) => {
                let text = self.text(path, text)?;
                let mut list = Vec::new();
                for part in text.split(by.as_str()) {
                    self.budget.spend(path, part.len())?;
                    list.push(Out::Text(part.to_owned()));
                }
                Ok(Out::List(list))
            }
            Expr::FindInMap(keys) => self.find(path, keys),
            Expr::List(items) => {
                let items = items.iter().enumerate();
                let list: Result<_> = items.map(|(at, item)| self.evaluate(&format!("{path}[{at}]"), item)).collect();
                Ok(Out::List(list?))
            }
            Expr::Map(entries) => {
                let mut map = BTreeMap::new();
                for (key, value) in entries {
                    self.budget.spend(path, key.len())?;
                    map.insert(key.clone(), self.evaluate(&format!("{path}.{key}"), value)?);
                }
                Ok(Out::Map(map))
            }
        }
    }

    fn text(&mut self, path: &str, expression: &Expr) -> Result<String> {
        let out = self.evaluate(path, expression)?;
        as_text(path, out)
    }

    fn optional(&mut self, path: &str, expression: Option<&Expr>) -> Result<Option<String>> {
        let text = expression.map(|expression| self.text(path, expression)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn join(&mut self, path: &str, by: &str, values: &Expr) -> Result<String> {
        let path = format!("{path}.Fn::Join");
        let Out::List(list) = self.evaluate(&path, values)? else {
            return Err(TemplateError::new(path, "the values are not a list"));
        };
        let mut texts = Vec::with_capacity(list.len());
        for (at, item) in list.into_iter().enumerate() {
            let text = as_text(&format!("{path}[{at}]"), item)?;
            self.budget.spend(&path, text.len().saturating_add(by.len()))?;
            texts.push(text);
        }
        Ok(texts.join(by))
    }

    fn sub(&mut self, path: &str, pieces: &[Piece], variables: &BTreeMap<String, Expr>) -> Result<String> {
        let path = format!("{path}.Fn::Sub");
        let mut own = BTreeMap::new();
        for (name, expression) in variables {
            own.insert(name, self.text(&format!("{path}.{name}"), expression)?);
        }
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(piece) => {
                    self.budget.spend(&path, piece.len())?;
                    text.push_str(piece);
                }
                Piece::Variable(name) => match own.get(name) {
                    Some(value) => {
                        self.budget.spend(&path, value.len())?;
                        text.push_str(value);
                    }
                    None => text.push_str(&self.value(&path, name)?),
                },
            }
        }
        Ok(text)
    }

    fn select(&mut self, path: &str, index: &Expr, values: &Expr) -> Result<Out> {
        let path = format!("{path}.Fn::Select");
        let text = self.text(&path, index)?;
        let index: usize =
            text.parse().map_err(|_| TemplateError::new(path.as_str(), format!("{} is no index", shown(&text))))?;
        let Out::List(mut list) = self.evaluate(&path, values)? else {
            return Err(TemplateError::new(path, "the values are not a list"));
        };
        if index >= list.len() {
            return Err(TemplateError::new(path, format!("there is no value {index} in a list of {}", list.len())));
        }
        Ok(list.swap_remove(index))
    }

    fn find(&mut self, path: &str, keys: &[Expr; 3]) -> Result<Out> {
        let path = format!("{path}.Fn::FindInMap");
        let [map, first, second] = keys;
        let (map, first, second) = (self.text(&path, map)?, self.text(&path, first)?, self.text(&path, second)?);
        let found = self.template.mappings.get(&map).and_then(|map| map.get(&first)).and_then(|keys| keys.get(&second));
        let found = found.ok_or_else(|| {
            let keys = format!("{}, {}, {}", shown(&map), shown(&first), shown(&second));
            TemplateError::new(path.as_str(), format!("there is nothing at {keys}"))
        })?;
        self.literal(&path, found)
    }

    /// A value of the mappings.
    fn literal(&mut self, path: &str, value: &Value) -> Result<Out> {
        match value {
            Value::String(text) => {
                self.budget.spend(path, text.len())?;
                Ok(Out::Text(text.clone()))
            }
            Value::Array(list) => {
                let list: Result<_> = list.iter().map(|item| self.literal(path, item)).collect();
                Ok(Out::List(list?))
            }
            plain => {
                self.budget.spend(path, 8)?;
                Ok(Out::Plain(plain.clone()))
            }
        }
    }

    fn attributes(&mut self, path: &str, expression: Option<&Expr>) -> Result<BTreeMap<String, String>> {
        let Some(expression) = expression else { return Ok(BTreeMap::new()) };
        let Out::Map(map) = self.evaluate(path, expression)? else {
            return Err(TemplateError::new(path, "must be an object of names and texts"));
        };
        map.into_iter().map(|(key, value)| Ok((key.clone(), as_text(&format!("{path}.{key}"), value)?))).collect()
    }

    fn groups(&mut self, path: &str, expression: Option<&Expr>) -> Result<BTreeSet<String>> {
        let Some(expression) = expression else { return Ok(BTreeSet::new()) };
        let Out::List(list) = self.evaluate(path, expression)? else {
            return Err(TemplateError::new(path, "must be a list of texts"));
        };
        list.into_iter().enumerate().map(|(at, item)| as_text(&format!("{path}[{at}]"), item)).collect()
    }

    fn active(&mut self, status: Option<&Expr>) -> Result<bool> {
        let Some(status) = status else { return Ok(true) };
        let path = "Resources: the certificate's Status";
        match self.text(path, status)?.to_ascii_uppercase().as_str() {
            "ACTIVE" => Ok(true),
            "INACTIVE" | "PENDING_ACTIVATION" => Ok(false),
            _ => Err(TemplateError::new(path, "must be ACTIVE or INACTIVE")),
        }
    }

    fn policies(&mut self, policies: &[Policy]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for policy in policies {
            if let Policy::Named(name) = policy {
                names.push(self.text("Resources: a policy's PolicyName", name)?);
            }
        }
        Ok(names)
    }

    fn configuration(&mut self, entries: &BTreeMap<String, Expr>) -> Result<Configuration> {
        let mut configuration = Map::new();
        for (key, expression) in entries {
            let path = format!("DeviceConfiguration.{key}");
            self.budget.spend(&path, key.len())?;
            configuration.insert(key.clone(), as_json(self.evaluate(&path, expression)?));
        }
        Ok(configuration)
    }
}

fn as_text(path: &str, out: Out) -> Result<String> {
    match out {
        Out::Text(text) => Ok(text),
        Out::Plain(Value::Null) => Err(TemplateError::new(path, "is null")),
        Out::Plain(plain) => Ok(plain.to_string()),
        Out::List(_) => Err(TemplateError::new(path, "is a list where a text is wanted")),
        Out::Map(_) => Err(TemplateError::new(path, "is an object where a text is wanted")),
    }
}

fn as_json(out: Out) -> Value {
    match out {
        Out::Text(text) => Value::String(text),
        Out::Plain(plain) => plain,
        Out::List(list) => Value::Array(list.into_iter().map(as_json).collect()),
        Out::Map(map) => Value::Object(map.into_iter().map(|(key, value)| (key, as_json(value))).collect()),
    }
}
