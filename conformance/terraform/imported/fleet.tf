# What somebody else made, by boto3, taken over by `import`: nothing is to be changed then.

resource "aws_iot_thing_type" "bulb" {
  name = "its-bulb"
  properties {
    description           = "a lamp"
    searchable_attributes = ["watts"]
  }
  tags = { team = "one" }
}

resource "aws_iot_thing" "lamp" {
  name            = "its-lamp"
  thing_type_name = aws_iot_thing_type.bulb.name
  attributes      = { watts = "60" }
}

resource "aws_iot_thing_group" "floor" {
  name = "its-floor"
}

resource "aws_iot_thing_group" "room" {
  name              = "its-room"
  parent_group_name = aws_iot_thing_group.floor.name
  properties {
    description = "a room"
  }
}

resource "aws_iot_thing_group_membership" "lamp" {
  thing_name       = aws_iot_thing.lamp.name
  thing_group_name = aws_iot_thing_group.room.name
}

# The same as boto3 said, in another order and another spelling.
resource "aws_iot_policy" "lamps" {
  name = "its-lamps"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Resource = ["arn:aws:iot:*:*:topic/a"]
      Action   = "iot:Publish"
      Effect   = "Allow"
    }]
  })
}

resource "aws_iot_provisioning_template" "line" {
  name                  = "its-line"
  provisioning_role_arn = "arn:aws:iam::123456789012:role/x"
  template_body         = file("${path.module}/line.json")
}

resource "aws_iot_indexing_configuration" "index" {
  thing_indexing_configuration {
    thing_indexing_mode              = "REGISTRY"
    thing_connectivity_indexing_mode = "STATUS"
  }
}
