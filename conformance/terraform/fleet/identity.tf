# Certificates, policies, and what they are attached to.

variable "csr" {}

resource "aws_iot_certificate" "lamp" {
  csr    = file(var.csr)
  active = true
}

# Made with its key by the server; waits for a thing that never comes.
resource "aws_iot_certificate" "keys" {
  active = !var.second
}

# Attached, and set aside in the second fleet.
resource "aws_iot_certificate" "aside" {
  active = !var.second
}

resource "aws_iot_policy" "lamps" {
  name = "tf-lamps"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "iot:Connect"
        Resource = "arn:aws:iot:*:*:client/$${iot:Connection.Thing.ThingName}"
      },
      {
        Effect   = "Allow"
        Action   = var.second ? ["iot:Receive", "iot:Publish"] : ["iot:Publish"]
        Resource = "arn:aws:iot:*:*:topic/lamps/$${iot:Connection.Thing.ThingName}/*"
      },
    ]
  })
  tags = { policy = var.second ? "two" : "one" }
}

# Six texts in all over the runs, so that the oldest version has to make room.
variable "text" {
  default = "0"
}

resource "aws_iot_policy" "often" {
  name   = "tf-often"
  policy = <<-JSON
    {
      "Version": "2012-10-17",
      "Statement": { "Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/${var.text}" }
    }
  JSON
}

resource "aws_iot_policy_attachment" "certificate" {
  policy = aws_iot_policy.lamps.name
  target = aws_iot_certificate.lamp.arn
}

resource "aws_iot_policy_attachment" "group" {
  policy = var.second ? aws_iot_policy.often.name : aws_iot_policy.lamps.name
  target = aws_iot_thing_group.room.arn
}

resource "aws_iot_thing_principal_attachment" "lamp" {
  principal = aws_iot_certificate.lamp.arn
  thing     = aws_iot_thing.lamp.name
}

resource "aws_iot_thing_principal_attachment" "aside" {
  principal = aws_iot_certificate.aside.arn
  thing     = aws_iot_thing.many[0].name
}
