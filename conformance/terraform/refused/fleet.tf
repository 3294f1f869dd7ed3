# What AWS has and a server of ours has not. Each is tried alone, by `-target`.

resource "aws_iot_role_alias" "alias" {
  alias    = "tf-alias"
  role_arn = "arn:aws:iam::123456789012:role/x"
}

resource "aws_iot_topic_rule" "rule" {
  name        = "tf_rule"
  enabled     = true
  sql         = "SELECT * FROM 'a'"
  sql_version = "2016-03-23"
}

resource "aws_iot_billing_group" "group" {
  name = "tf-billing"
}

resource "aws_iot_indexing_configuration" "shadows" {
  thing_indexing_configuration {
    thing_indexing_mode              = "REGISTRY_AND_SHADOW"
    thing_connectivity_indexing_mode = "STATUS"
  }
}
