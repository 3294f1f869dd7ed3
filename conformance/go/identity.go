package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

func document(topic string) *string {
	return aws.String(fmt.Sprintf(
		`{"Statement":[{"Action":["iot:Publish"],"Effect":"Allow","Resource":"arn:aws:iot:*:*:topic/%s"}],"Version":"2012-10-17"}`, topic))
}

func deletePolicy(ctx context.Context, client *iot.Client, name *string) error {
	attached := func(err error) bool { return is[*types.DeleteConflictException](err) }
	return retried(ctx, attached, func() error {
		_, err := client.DeletePolicy(ctx, &iot.DeletePolicyInput{PolicyName: name})
		return err
	})
}

func policyLife(ctx context.Context, client *iot.Client) error {
	name := aws.String("go-policy")
	made, err := client.CreatePolicy(ctx, &iot.CreatePolicyInput{
		PolicyName: name, PolicyDocument: document("0"), Tags: tags("first", "1", "second", "2"),
	})
	if err != nil {
		return err
	}
	read := func(topic, version string) error {
		read, err := client.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: name})
		if err != nil {
			return err
		}
		seen := []string{aws.ToString(read.PolicyArn), aws.ToString(read.PolicyDocument), aws.ToString(read.DefaultVersionId)}
		return same(seen, []string{aws.ToString(made.PolicyArn), *document(topic), version}, "policy")
	}
	versions := func() ([]int, error) {
		listed, err := client.ListPolicyVersions(ctx, &iot.ListPolicyVersionsInput{PolicyName: name})
		if err != nil {
			return nil, err
		}
		var others []int
		for _, version := range listed.PolicyVersions {
			number, err := strconv.Atoi(aws.ToString(version.VersionId))
			if err != nil {
				return nil, err
			}
			if !version.IsDefaultVersion {
				others = append(others, number)
			}
		}
		slices.Sort(others)
		return others, nil
	}
	drop := func(number int) error {
		_, err := client.DeletePolicyVersion(ctx, &iot.DeletePolicyVersionInput{
			PolicyName: name, PolicyVersionId: aws.String(strconv.Itoa(number)),
		})
		return err
	}
	// Each change is a version; where there are five, the lowest makes room.
	change := func(topic string) error {
		input := &iot.CreatePolicyVersionInput{PolicyName: name, PolicyDocument: document(topic), SetAsDefault: true}
		_, err := client.CreatePolicyVersion(ctx, input)
		if !is[*types.VersionsLimitExceededException](err) {
			return err
		}
		others, err := versions()
		if err != nil {
			return err
		}
		if err := drop(others[0]); err != nil {
			return err
		}
		_, err = client.CreatePolicyVersion(ctx, input)
		return err
	}
	steps := []func() error{
		func() error { return read("0", "1") },
		func() error { return retag(ctx, client, made.PolicyArn) },
	}
	for number := 1; number <= 7; number++ {
		topic, version := strconv.Itoa(number), strconv.Itoa(number+1)
		steps = append(steps, func() error { return change(topic) }, func() error { return read(topic, version) })
	}
	steps = append(steps,
		func() error {
			others, err := versions()
			if err != nil {
				return err
			}
			for _, number := range others {
				if err := drop(number); err != nil {
					return err
				}
			}
			return same(len(others), 4, "versions that do not count")
		},
		func() error { return deletePolicy(ctx, client, name) },
		func() error {
			_, err := client.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: name})
			return gone[notFound](err, "the policy")
		},
		func() error {
			_, err := client.ListPolicyVersions(ctx, &iot.ListPolicyVersionsInput{PolicyName: name})
			return gone[notFound](err, "the versions")
		},
	)
	return all(steps...)
}

// request is a CSR with a key of its own.
func request() (*string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "go"}}, key)
	if err != nil {
		return nil, err
	}
	return aws.String(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))), nil
}

func status(ctx context.Context, client *iot.Client, id *string, wanted types.CertificateStatus, arn, text *string) error {
	read, err := client.DescribeCertificate(ctx, &iot.DescribeCertificateInput{CertificateId: id})
	if err != nil {
		return err
	}
	found := read.CertificateDescription
	seen := []string{string(found.Status), aws.ToString(found.CertificateArn), aws.ToString(found.CertificatePem)}
	return same(seen, []string{string(wanted), aws.ToString(arn), aws.ToString(text)}, "certificate")
}

func setStatus(ctx context.Context, client *iot.Client, id *string, wanted types.CertificateStatus) error {
	_, err := client.UpdateCertificate(ctx, &iot.UpdateCertificateInput{CertificateId: id, NewStatus: wanted})
	return err
}

// deleteCertificate sets it aside first, as the provider does.
func deleteCertificate(ctx context.Context, client *iot.Client, id *string) error {
	if err := setStatus(ctx, client, id, types.CertificateStatusInactive); err != nil {
		return err
	}
	if _, err := client.DeleteCertificate(ctx, &iot.DeleteCertificateInput{CertificateId: id}); err != nil {
		return err
	}
	_, err := client.DescribeCertificate(ctx, &iot.DescribeCertificateInput{CertificateId: id})
	return gone[notFound](err, "the certificate")
}

func requestLife(ctx context.Context, client *iot.Client) error {
	csr, err := request()
	if err != nil {
		return err
	}
	made, err := client.CreateCertificateFromCsr(ctx, &iot.CreateCertificateFromCsrInput{CertificateSigningRequest: csr})
	if err != nil {
		return err
	}
	id := made.CertificateId
	stands := func(wanted types.CertificateStatus) func() error {
		return func() error { return status(ctx, client, id, wanted, made.CertificateArn, made.CertificatePem) }
	}
	set := func(wanted types.CertificateStatus) func() error {
		return func() error { return setStatus(ctx, client, id, wanted) }
	}
	return all(
		stands(types.CertificateStatusInactive),
		set(types.CertificateStatusActive),
		stands(types.CertificateStatusActive),
		set(types.CertificateStatusInactive),
		stands(types.CertificateStatusInactive),
		set(types.CertificateStatusActive),
		func() error {
			_, err := client.DeleteCertificate(ctx, &iot.DeleteCertificateInput{CertificateId: id})
			return gone[*types.CertificateStateException](err, "an active certificate")
		},
		func() error { return deleteCertificate(ctx, client, id) },
	)
}

func keysLife(ctx context.Context, client *iot.Client) error {
	made, err := client.CreateKeysAndCertificate(ctx, &iot.CreateKeysAndCertificateInput{SetAsActive: true})
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(aws.ToString(made.CertificatePem)), []byte(aws.ToString(made.KeyPair.PrivateKey)))
	if err != nil {
		return fmt.Errorf("certificate and key do not fit: %w", err)
	}
	block, _ := pem.Decode([]byte(aws.ToString(made.KeyPair.PublicKey)))
	if block == nil {
		return fmt.Errorf("no public key in PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	if own, ok := pair.Leaf.PublicKey.(*ecdsa.PublicKey); !ok || !own.Equal(public) {
		return fmt.Errorf("the public key is not the certificate's")
	}
	return all(
		func() error {
			return status(ctx, client, made.CertificateId, types.CertificateStatusActive, made.CertificateArn, made.CertificatePem)
		},
		func() error { return deleteCertificate(ctx, client, made.CertificateId) },
	)
}

func principals(ctx context.Context, client *iot.Client, thing *string) ([]string, error) {
	var found []string
	pages := iot.NewListThingPrincipalsV2Paginator(client, &iot.ListThingPrincipalsV2Input{ThingName: thing})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.ThingPrincipalObjects {
			if one.ThingPrincipalType != types.ThingPrincipalTypeExclusiveThing {
				return nil, fmt.Errorf("attached as %s", one.ThingPrincipalType)
			}
			found = append(found, aws.ToString(one.Principal))
		}
	}
	return found, nil
}

func attached(ctx context.Context, client *iot.Client, target *string) ([]string, error) {
	var found []string
	pages := iot.NewListAttachedPoliciesPaginator(client, &iot.ListAttachedPoliciesInput{Target: target, PageSize: aws.Int32(250)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Policies {
			found = append(found, aws.ToString(one.PolicyName))
		}
	}
	return found, nil
}

func attachmentLives(ctx context.Context, client *iot.Client) error {
	thing, policy, group := aws.String("go-holder"), aws.String("go-held"), aws.String("go-holders")
	csr, err := request()
	if err != nil {
		return err
	}
	made, err := client.CreateCertificateFromCsr(ctx, &iot.CreateCertificateFromCsrInput{CertificateSigningRequest: csr, SetAsActive: true})
	if err != nil {
		return err
	}
	if _, err := client.CreateThing(ctx, &iot.CreateThingInput{ThingName: thing}); err != nil {
		return err
	}
	if _, err := client.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: policy, PolicyDocument: document("x")}); err != nil {
		return err
	}
	grouped, err := client.CreateThingGroup(ctx, &iot.CreateThingGroupInput{ThingGroupName: group})
	if err != nil {
		return err
	}
	targets := []*string{made.CertificateArn, grouped.ThingGroupArn}
	detach := func(target *string) error {
		_, err := client.DetachPolicy(ctx, &iot.DetachPolicyInput{PolicyName: policy, Target: target})
		return err
	}
	has := func(wanted ...string) error {
		found, err := principals(ctx, client, thing)
		if err != nil {
			return err
		}
		return same(found, wanted, "principals")
	}
	return all(
		func() error {
			_, err := client.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: thing, Principal: made.CertificateArn})
			return err
		},
		func() error { return has(aws.ToString(made.CertificateArn)) },
		func() error {
			for _, target := range targets {
				if _, err := client.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: policy, Target: target}); err != nil {
					return err
				}
				found, err := attached(ctx, client, target)
				if err != nil {
					return err
				}
				if err := same(found, []string{*policy}, "policies"); err != nil {
					return err
				}
			}
			return nil
		},
		func() error {
			_, err := client.DeletePolicy(ctx, &iot.DeletePolicyInput{PolicyName: policy})
			return gone[*types.DeleteConflictException](err, "a policy in use")
		},
		func() error {
			_, err := client.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: thing})
			return gone[invalid](err, "a thing with a principal")
		},
		// The way down, in Terraform's order.
		func() error {
			return all(func() error { return detach(targets[0]) }, func() error { return detach(targets[1]) })
		},
		func() error {
			found, err := attached(ctx, client, targets[0])
			if err != nil {
				return err
			}
			return same(len(found), 0, "policies")
		},
		func() error {
			_, err := client.DetachThingPrincipal(ctx, &iot.DetachThingPrincipalInput{ThingName: thing, Principal: made.CertificateArn})
			return err
		},
		func() error { return has() },
		func() error { return deleteCertificate(ctx, client, made.CertificateId) },
		func() error { return refused(detach(targets[0]), "InvalidRequestException", "Invalid Target") },
		func() error {
			_, err := attached(ctx, client, targets[0])
			return gone[notFound](err, "the certificate")
		},
		func() error {
			_, err := client.DetachThingPrincipal(ctx, &iot.DetachThingPrincipalInput{ThingName: thing, Principal: made.CertificateArn})
			return gone[notFound](err, "the attachment")
		},
		func() error { return deletePolicy(ctx, client, policy) },
		func() error {
			_, err := client.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: thing})
			return err
		},
		func() error {
			_, err := client.DeleteThingGroup(ctx, &iot.DeleteThingGroupInput{ThingGroupName: group})
			return err
		},
	)
}
