# A server in AWS's place: another endpoint, another trust anchor, and nothing asked of AWS itself.

variable "endpoint" {}
variable "ca" {}

provider "aws" {
  region                      = "eu-central-1"
  custom_ca_bundle            = var.ca
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = "true"

  endpoints {
    iot = var.endpoint
  }
}
