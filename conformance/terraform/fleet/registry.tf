# Types, things and groups. `second` is the fleet after a change of everything that can be changed.

variable "second" {
  type    = bool
  default = false
}

resource "aws_iot_thing_type" "bulb" {
  name = "tf-bulb"
  properties {
    description           = "a lamp"
    searchable_attributes = ["watts", "colour"]
  }
  tags = var.second ? { team = "two", stage = "live / new" } : { team = "one" }
}

resource "aws_iot_thing_type" "bare" {
  name       = "tf-bare"
  deprecated = var.second
}

# Its description cannot be changed: another type takes its place.
resource "aws_iot_thing_type" "replaced" {
  name = "tf-replaced"
  properties {
    description = var.second ? "after" : "before"
  }
}

resource "aws_iot_thing" "lamp" {
  name            = "tf-lamp-1"
  thing_type_name = aws_iot_thing_type.bulb.name
  attributes      = var.second ? { watts = "40", room = "two" } : { watts = "60", site = "berlin" }
}

resource "aws_iot_thing" "bare" {
  name            = "tf:bare"
  thing_type_name = var.second ? null : aws_iot_thing_type.bulb.name
  attributes      = var.second ? {} : { First = "value" }
}

resource "aws_iot_thing" "many" {
  count = 12
  name  = "tf-many-${count.index}"
}

resource "aws_iot_thing_group" "floor" {
  name = "tf-floor"
  tags = var.second ? {} : { floor = "2" }
}

resource "aws_iot_thing_group" "room" {
  name              = "tf-room"
  parent_group_name = aws_iot_thing_group.floor.name
  properties {
    description = var.second ? "another room" : "a room"
    attribute_payload {
      attributes = var.second ? { Key2 = "Value2", Key3 = "Value3" } : { Key1 = "Value1" }
    }
  }
}

# With properties, and later without any.
resource "aws_iot_thing_group" "plain" {
  name = "tf-plain"
  dynamic "properties" {
    for_each = var.second ? [] : ["some"]
    content {
      description = "plain"
      attribute_payload {
        attributes = { Key1 = "Value1" }
      }
    }
  }
}

# Its parent cannot be changed: another group takes its place.
resource "aws_iot_thing_group" "moved" {
  name              = "tf-moved"
  parent_group_name = var.second ? aws_iot_thing_group.room.name : aws_iot_thing_group.floor.name
}

resource "aws_iot_thing_group_membership" "lamp" {
  thing_name             = aws_iot_thing.lamp.name
  thing_group_name       = aws_iot_thing_group.room.name
  override_dynamic_group = true
}

resource "aws_iot_thing_group_membership" "many" {
  count            = length(aws_iot_thing.many)
  thing_name       = aws_iot_thing.many[count.index].name
  thing_group_name = var.second ? aws_iot_thing_group.floor.name : aws_iot_thing_group.plain.name
}
