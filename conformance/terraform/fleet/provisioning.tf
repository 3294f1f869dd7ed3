# A provisioning template, the index, and what is only read.

resource "aws_iot_provisioning_template" "line" {
  name                  = "tf-line"
  description           = var.second ? null : "the line"
  enabled               = !var.second
  provisioning_role_arn = "arn:aws:iam::123456789012:role/${var.second ? "second" : "first"}"
  template_body = jsonencode({
    Parameters = { SerialNumber = { Type = "String" } }
    Resources = {
      thing = { Type = "AWS::IoT::Thing", Properties = { ThingName = { Ref = "SerialNumber" } } }
      certificate = {
        Type       = "AWS::IoT::Certificate"
        Properties = { CertificateId = { Ref = "AWS::IoT::Certificate::Id" }, Status = var.second ? "ACTIVE" : "Active" }
      }
    }
  })
  tags = var.second ? { line = "2" } : {}
}

resource "aws_iot_indexing_configuration" "index" {
  thing_indexing_configuration {
    thing_indexing_mode              = "REGISTRY"
    thing_connectivity_indexing_mode = "STATUS"
  }
}

data "aws_iot_endpoint" "devices" {
  endpoint_type = "iot:Data-ATS"
}

data "aws_iot_registration_code" "code" {}

output "endpoint" {
  value = data.aws_iot_endpoint.devices.endpoint_address
}

output "code" {
  value = data.aws_iot_registration_code.code.registration_code
}

output "lamp" {
  value     = aws_iot_certificate.lamp.certificate_pem
  sensitive = true
}

output "tags" {
  value = aws_iot_thing_type.bulb.tags_all
}
