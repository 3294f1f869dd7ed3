// Command awsgo speaks to a server as Terraform's provider for AWS does: by AWS's SDK for Go, one life of each resource.
//
//	awsgo CHECK      with AWS_ENDPOINT_URL_IOT, AWS_CA_BUNDLE, AWS_REGION and an access key in the environment
//	awsgo            prints the names of the checks
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/smithy-go"
)

// A check is a sequence of calls as the provider makes them, and what must hold between them.
type check func(context.Context, *iot.Client) error

// In the order in which they are told.
var checks = []struct {
	name string
	run  check
}{
	{"type", typeLife},
	{"thing", thingLife},
	{"group", groupLife},
	{"membership", membershipLife},
	{"policy", policyLife},
	{"csr", requestLife},
	{"keys", keysLife},
	{"attachments", attachmentLives},
	{"template", templateLife},
	{"index", indexLife},
	{"sources", dataSources},
	{"pages", pages},
	{"together", together},
	{"refused", refusals},
}

func main() {
	if len(os.Args) != 2 {
		for _, one := range checks {
			fmt.Println(one.name)
		}
		return
	}
	if err := tell(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	for _, one := range checks {
		if one.name == name {
			return one.run(ctx, iot.NewFromConfig(loaded))
		}
	}
	return fmt.Errorf("no check %q", name)
}

// same fails with both values where they differ.
func same(seen, wanted any, what string) error {
	if !reflect.DeepEqual(seen, wanted) {
		return fmt.Errorf("%s: wanted %v, saw %v", what, wanted, seen)
	}
	return nil
}

// refused fails unless err is what the SDK makes of the error with this name; with words, they must be said too.
func refused(err error, name, words string) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("wanted %s, saw %v", name, err)
	}
	if api.ErrorCode() != name || !strings.Contains(api.ErrorMessage(), words) {
		return fmt.Errorf("wanted %s (%q), saw %s (%q)", name, words, api.ErrorCode(), api.ErrorMessage())
	}
	return nil
}

// is tells whether err is an exception of the SDK's model.
func is[E error](err error) bool {
	var exception E
	return errors.As(err, &exception)
}

// gone fails unless a read says that the resource is not there any more, by the exception that the model has for it.
func gone[E error](err error, what string) error {
	if !is[E](err) {
		return fmt.Errorf("%s should be gone, saw %v", what, err)
	}
	return nil
}

// retried does it again as long as the answer says that it may succeed later, as the provider's waiters do.
func retried(ctx context.Context, later func(error) bool, do func() error) error {
	for {
		err := do()
		if err == nil || !later(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("in vain: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// all runs steps in order up to the first that fails.
func all(steps ...func() error) error {
	for number, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", number+1, err)
		}
	}
	return nil
}
