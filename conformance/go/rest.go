package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

const body = `{
  "Parameters": { "SerialNumber": { "Type": "String" } },
  "Resources": {
    "thing": { "Type": "AWS::IoT::Thing", "Properties": { "ThingName": { "Ref": "SerialNumber" } } },
    "certificate": {
      "Type": "AWS::IoT::Certificate",
      "Properties": { "CertificateId": { "Ref": "AWS::IoT::Certificate::Id" }, "Status": "Active" }
    }
  }
}`

func templateLife(ctx context.Context, client *iot.Client) error {
	name, role := aws.String("go-template"), aws.String("arn:aws:iam::123456789012:role/service-role/provisioning")
	made, err := client.CreateProvisioningTemplate(ctx, &iot.CreateProvisioningTemplateInput{
		TemplateName: name, TemplateBody: aws.String(body), ProvisioningRoleArn: role, Enabled: aws.Bool(true),
		Description: aws.String("the line"), Tags: tags("first", "1", "second", "2"),
	})
	if err != nil {
		return err
	}
	read := func(text, words string, enabled bool, version int32) error {
		read, err := client.DescribeProvisioningTemplate(ctx, &iot.DescribeProvisioningTemplateInput{TemplateName: name})
		if err != nil {
			return err
		}
		if read.PreProvisioningHook != nil {
			return fmt.Errorf("a hook that nobody wrote")
		}
		seen := []any{
			aws.ToString(read.TemplateArn), aws.ToString(read.TemplateBody), aws.ToString(read.Description), aws.ToBool(read.Enabled),
			aws.ToInt32(read.DefaultVersionId), aws.ToString(read.ProvisioningRoleArn), read.Type,
		}
		wanted := []any{aws.ToString(made.TemplateArn), text, words, enabled, version, *role, types.TemplateTypeFleetProvisioning}
		return same(seen, wanted, "template")
	}
	update := func(words string, enabled bool) error {
		_, err := client.UpdateProvisioningTemplate(ctx, &iot.UpdateProvisioningTemplateInput{
			TemplateName: name, Description: &words, Enabled: &enabled, ProvisioningRoleArn: role,
		})
		return err
	}
	other := strings.Replace(body, `"Active"`, `"ACTIVE"`, 1)
	return all(
		func() error { return read(body, "the line", true, 1) },
		func() error { return retag(ctx, client, made.TemplateArn) },
		func() error {
			_, err := client.CreateProvisioningTemplateVersion(ctx, &iot.CreateProvisioningTemplateVersionInput{
				TemplateName: name, TemplateBody: &other, SetAsDefault: true,
			})
			return err
		},
		func() error { return read(other, "the line", true, 2) },
		func() error { return update("", false) },
		func() error { return read(other, "", false, 3) },
		func() error {
			_, err := client.DeleteProvisioningTemplate(ctx, &iot.DeleteProvisioningTemplateInput{TemplateName: name})
			return err
		},
		func() error {
			_, err := client.DescribeProvisioningTemplate(ctx, &iot.DescribeProvisioningTemplateInput{TemplateName: name})
			return gone[notFound](err, "the template")
		},
	)
}

func indexLife(ctx context.Context, client *iot.Client) error {
	put := func(things types.ThingIndexingConfiguration) error {
		_, err := client.UpdateIndexingConfiguration(ctx, &iot.UpdateIndexingConfigurationInput{
			ThingIndexingConfiguration:      &things,
			ThingGroupIndexingConfiguration: &types.ThingGroupIndexingConfiguration{ThingGroupIndexingMode: types.ThingGroupIndexingModeOff},
		})
		return err
	}
	things := types.ThingIndexingConfiguration{
		ThingIndexingMode:             types.ThingIndexingModeRegistry,
		ThingConnectivityIndexingMode: types.ThingConnectivityIndexingModeStatus,
		DeviceDefenderIndexingMode:    types.DeviceDefenderIndexingModeOff,
		NamedShadowIndexingMode:       types.NamedShadowIndexingModeOff,
	}
	return all(
		func() error { return put(things) },
		func() error {
			read, err := client.GetIndexingConfiguration(ctx, &iot.GetIndexingConfigurationInput{})
			if err != nil {
				return err
			}
			return same(*read.ThingIndexingConfiguration, things, "index")
		},
		func() error {
			shadows := things
			shadows.ThingIndexingMode = types.ThingIndexingModeRegistryAndShadow
			return refused(put(shadows), "InvalidRequestException", "thingIndexingMode is REGISTRY here")
		},
	)
}

func dataSources(ctx context.Context, client *iot.Client) error {
	for _, kind := range []*string{nil, aws.String("iot:Data-ATS"), aws.String("iot:Jobs")} {
		found, err := client.DescribeEndpoint(ctx, &iot.DescribeEndpointInput{EndpointType: kind})
		if err != nil {
			return err
		}
		if address := aws.ToString(found.EndpointAddress); address == "" || strings.ContainsAny(address, "/:") {
			return fmt.Errorf("an endpoint is a host alone: %q", address)
		}
	}
	first, err := client.GetRegistrationCode(ctx, &iot.GetRegistrationCodeInput{})
	if err != nil {
		return err
	}
	second, err := client.GetRegistrationCode(ctx, &iot.GetRegistrationCodeInput{})
	if err != nil {
		return err
	}
	if err := same(len(aws.ToString(first.RegistrationCode)), 64, "digits"); err != nil {
		return err
	}
	return same(aws.ToString(second.RegistrationCode), aws.ToString(first.RegistrationCode), "code")
}

// What there is no such thing of: an error with a name and a reason, at the first try.
func refusals(ctx context.Context, client *iot.Client) error {
	role := aws.String("arn:aws:iam::123456789012:role/x")
	for words, call := range map[string]func() error{
		"Topic rules": func() error {
			_, err := client.CreateTopicRule(ctx, &iot.CreateTopicRuleInput{
				RuleName: aws.String("go"), TopicRulePayload: &types.TopicRulePayload{Sql: aws.String("SELECT *"), Actions: []types.Action{}},
			})
			return err
		},
		"role aliases": func() error {
			_, err := client.CreateRoleAlias(ctx, &iot.CreateRoleAliasInput{RoleAlias: aws.String("go"), RoleArn: role})
			return err
		},
		"issuers of tokens": func() error {
			_, err := client.CreateAuthorizer(ctx, &iot.CreateAuthorizerInput{AuthorizerName: aws.String("go"), AuthorizerFunctionArn: role})
			return err
		},
		"wardctl factory-ca register": func() error {
			_, err := client.RegisterCACertificate(ctx, &iot.RegisterCACertificateInput{CaCertificate: aws.String("x")})
			return err
		},
		"billingGroupName": func() error {
			_, err := client.CreateBillingGroup(ctx, &iot.CreateBillingGroupInput{BillingGroupName: aws.String("go")})
			return err
		},
	} {
		if err := refused(call(), "UnknownOperationException", words); err != nil {
			return err
		}
	}
	_, err := client.DescribeEndpoint(ctx, &iot.DescribeEndpointInput{EndpointType: aws.String("iot:CredentialProvider")})
	return refused(err, "InvalidRequestException", "no provider of AWS credentials")
}
