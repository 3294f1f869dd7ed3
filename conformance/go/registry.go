package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

type (
	notFound = *types.ResourceNotFoundException
	invalid  = *types.InvalidRequestException
)

func tags(pairs ...string) []types.Tag {
	var made []types.Tag
	for at := 0; at+1 < len(pairs); at += 2 {
		made = append(made, types.Tag{Key: &pairs[at], Value: &pairs[at+1]})
	}
	return made
}

// tagged reads tags as the provider does after each read of a resource.
func tagged(ctx context.Context, client *iot.Client, arn *string) (map[string]string, error) {
	found := map[string]string{}
	pages := iot.NewListTagsForResourcePaginator(client, &iot.ListTagsForResourceInput{ResourceArn: arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, tag := range page.Tags {
			found[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	return found, nil
}

// retag is an update of tags: what went first, then what is new or changed.
func retag(ctx context.Context, client *iot.Client, arn *string) error {
	if _, err := client.UntagResource(ctx, &iot.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"first"}}); err != nil {
		return err
	}
	change := &iot.TagResourceInput{ResourceArn: arn, Tags: tags("second", "changed", "third", "with a blank / and more")}
	if _, err := client.TagResource(ctx, change); err != nil {
		return err
	}
	found, err := tagged(ctx, client, arn)
	if err != nil {
		return err
	}
	return same(found, map[string]string{"second": "changed", "third": "with a blank / and more"}, "tags")
}

func typeLife(ctx context.Context, client *iot.Client) error {
	name := aws.String("go-type")
	made, err := client.CreateThingType(ctx, &iot.CreateThingTypeInput{
		ThingTypeName:       name,
		ThingTypeProperties: &types.ThingTypeProperties{ThingTypeDescription: aws.String("a lamp"), SearchableAttributes: []string{"watts"}},
		Tags:                tags("first", "1", "second", "2"),
	})
	if err != nil {
		return err
	}
	deprecated := func(wanted bool) error {
		read, err := client.DescribeThingType(ctx, &iot.DescribeThingTypeInput{ThingTypeName: name})
		if err != nil {
			return err
		}
		if err := same(aws.ToString(read.ThingTypeArn), aws.ToString(made.ThingTypeArn), "ARN"); err != nil {
			return err
		}
		if err := same(read.ThingTypeProperties.SearchableAttributes, []string{"watts"}, "searchable"); err != nil {
			return err
		}
		return same(read.ThingTypeMetadata.Deprecated, wanted, "deprecated")
	}
	deprecate := func(undo bool) error {
		_, err := client.DeprecateThingType(ctx, &iot.DeprecateThingTypeInput{ThingTypeName: name, UndoDeprecate: undo})
		return err
	}
	return all(
		func() error { return deprecated(false) },
		func() error { return retag(ctx, client, made.ThingTypeArn) },
		func() error { return deprecate(false) },
		func() error { return deprecated(true) },
		func() error { return deprecate(true) },
		func() error { return deprecated(false) },
		func() error { return deprecate(false) },
		func() error {
			later := func(err error) bool {
				return refused(err, "InvalidRequestException", "Please wait for 5 minutes after deprecation and then retry") == nil
			}
			return retried(ctx, later, func() error {
				_, err := client.DeleteThingType(ctx, &iot.DeleteThingTypeInput{ThingTypeName: name})
				return err
			})
		},
		func() error {
			_, err := client.DescribeThingType(ctx, &iot.DescribeThingTypeInput{ThingTypeName: name})
			return gone[notFound](err, "the type")
		},
	)
}

func thingLife(ctx context.Context, client *iot.Client) error {
	name, kind := aws.String("go:thing-1"), aws.String("go-kind")
	if _, err := client.CreateThingType(ctx, &iot.CreateThingTypeInput{ThingTypeName: kind}); err != nil {
		return err
	}
	made, err := client.CreateThing(ctx, &iot.CreateThingInput{
		ThingName:        name,
		AttributePayload: &types.AttributePayload{Attributes: map[string]string{"First": "value", "site": "berlin"}},
	})
	if err != nil {
		return err
	}
	read := func(kind string, attributes map[string]string, version int64) error {
		read, err := client.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: name})
		if err != nil {
			return err
		}
		seen := []any{aws.ToString(read.ThingArn), aws.ToString(read.DefaultClientId), aws.ToString(read.ThingTypeName), read.Version}
		wanted := []any{aws.ToString(made.ThingArn), *name, kind, version}
		if err := same(seen, wanted, "thing"); err != nil {
			return err
		}
		return same(read.Attributes, attributes, "attributes")
	}
	update := func(input *iot.UpdateThingInput) error {
		input.ThingName = name
		_, err := client.UpdateThing(ctx, input)
		return err
	}
	return all(
		func() error { return read("", map[string]string{"First": "value", "site": "berlin"}, 1) },
		func() error { return update(&iot.UpdateThingInput{ThingTypeName: kind}) },
		func() error { return read(*kind, map[string]string{"First": "value", "site": "berlin"}, 2) },
		func() error {
			return update(&iot.UpdateThingInput{AttributePayload: &types.AttributePayload{Attributes: map[string]string{"Second": "x"}}})
		},
		func() error { return read(*kind, map[string]string{"Second": "x"}, 3) },
		// Both taken out of the declaration.
		func() error {
			return update(&iot.UpdateThingInput{AttributePayload: &types.AttributePayload{Attributes: map[string]string{}}, RemoveThingType: true})
		},
		func() error { return read("", map[string]string{}, 4) },
		func() error {
			_, err := client.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: name})
			return err
		},
		func() error {
			_, err := client.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: name})
			return gone[notFound](err, "the thing")
		},
	)
}

func groupLife(ctx context.Context, client *iot.Client) error {
	outer, inner := aws.String("go-floor"), aws.String("go-room")
	made, err := client.CreateThingGroup(ctx, &iot.CreateThingGroupInput{ThingGroupName: outer, Tags: tags("first", "1", "second", "2")})
	if err != nil {
		return err
	}
	if _, err := client.CreateThingGroup(ctx, &iot.CreateThingGroupInput{
		ThingGroupName:  inner,
		ParentGroupName: outer,
		ThingGroupProperties: &types.ThingGroupProperties{
			ThingGroupDescription: aws.String("a room"),
			AttributePayload:      &types.AttributePayload{Attributes: map[string]string{"Key1": "Value1"}},
		},
	}); err != nil {
		return err
	}
	read := func(name *string) (*iot.DescribeThingGroupOutput, error) {
		return client.DescribeThingGroup(ctx, &iot.DescribeThingGroupInput{ThingGroupName: name})
	}
	update := func(version int64, properties types.ThingGroupProperties) error {
		_, err := client.UpdateThingGroup(ctx, &iot.UpdateThingGroupInput{
			ThingGroupName: inner, ExpectedVersion: &version, ThingGroupProperties: &properties,
		})
		return err
	}
	return all(
		func() error {
			read, err := read(outer)
			if err != nil {
				return err
			}
			if read.ThingGroupProperties != nil && read.ThingGroupProperties.AttributePayload != nil {
				return fmt.Errorf("properties that nobody wrote: %v", read.ThingGroupProperties)
			}
			return same([]any{aws.ToString(read.ThingGroupArn), read.Version}, []any{aws.ToString(made.ThingGroupArn), int64(1)}, "group")
		},
		func() error { return retag(ctx, client, made.ThingGroupArn) },
		func() error {
			read, err := read(inner)
			if err != nil {
				return err
			}
			above := read.ThingGroupMetadata.RootToParentThingGroups
			seen := []any{aws.ToString(read.ThingGroupMetadata.ParentGroupName), len(above), aws.ToString(above[0].GroupArn)}
			return same(seen, []any{*outer, 1, aws.ToString(made.ThingGroupArn)}, "where it lies")
		},
		func() error {
			return update(1, types.ThingGroupProperties{
				ThingGroupDescription: aws.String("another"),
				AttributePayload:      &types.AttributePayload{Attributes: map[string]string{"Key2": "Value2", "Key3": "Value3"}},
			})
		},
		func() error {
			read, err := read(inner)
			if err != nil {
				return err
			}
			seen := []any{aws.ToString(read.ThingGroupProperties.ThingGroupDescription), read.ThingGroupProperties.AttributePayload.Attributes, read.Version}
			return same(seen, []any{"another", map[string]string{"Key2": "Value2", "Key3": "Value3"}, int64(2)}, "properties")
		},
		// Taken out of the declaration: an empty payload.
		func() error {
			return update(2, types.ThingGroupProperties{AttributePayload: &types.AttributePayload{Attributes: map[string]string{}}})
		},
		func() error {
			read, err := read(inner)
			if err != nil {
				return err
			}
			properties := read.ThingGroupProperties
			if properties.ThingGroupDescription != nil || properties.AttributePayload != nil {
				return fmt.Errorf("properties that were taken out: %v", properties)
			}
			return same(read.Version, int64(3), "version")
		},
		func() error {
			stale := update(2, types.ThingGroupProperties{})
			return refused(stale, "VersionConflictException", "")
		},
		// The outer one is asked to go first, and waits.
		func() error {
			inside := func(err error) bool {
				return refused(err, "InvalidRequestException", "there are still child groups attached") == nil
			}
			var once sync.Once
			return retried(ctx, inside, func() error {
				_, err := client.DeleteThingGroup(ctx, &iot.DeleteThingGroupInput{ThingGroupName: outer})
				if err != nil {
					once.Do(func() { client.DeleteThingGroup(ctx, &iot.DeleteThingGroupInput{ThingGroupName: inner}) })
				}
				return err
			})
		},
		func() error {
			_, err := read(outer)
			return gone[notFound](err, "the group")
		},
	)
}

// member looks for a group among those of a thing, page by page.
func member(ctx context.Context, client *iot.Client, thing, group *string) (bool, error) {
	pages := iot.NewListThingGroupsForThingPaginator(client, &iot.ListThingGroupsForThingInput{ThingName: thing})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, err
		}
		for _, found := range page.ThingGroups {
			if aws.ToString(found.GroupName) == *group {
				return true, nil
			}
		}
	}
	return false, nil
}

func membershipLife(ctx context.Context, client *iot.Client) error {
	thing, group := aws.String("go-member"), aws.String("go-members")
	there := func(wanted bool) error {
		seen, err := member(ctx, client, thing, group)
		if err != nil {
			return err
		}
		return same(seen, wanted, "member")
	}
	return all(
		func() error {
			_, err := client.CreateThing(ctx, &iot.CreateThingInput{ThingName: thing})
			return err
		},
		func() error {
			_, err := client.CreateThingGroup(ctx, &iot.CreateThingGroupInput{ThingGroupName: group})
			return err
		},
		func() error {
			_, err := client.AddThingToThingGroup(ctx, &iot.AddThingToThingGroupInput{
				ThingName: thing, ThingGroupName: group, OverrideDynamicGroups: true,
			})
			return err
		},
		func() error { return there(true) },
		func() error {
			_, err := client.RemoveThingFromThingGroup(ctx, &iot.RemoveThingFromThingGroupInput{ThingName: thing, ThingGroupName: group})
			return err
		},
		func() error { return there(false) },
		func() error {
			_, err := client.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: thing})
			return err
		},
		func() error {
			_, err := member(ctx, client, thing, group)
			return gone[notFound](err, "the thing")
		},
		func() error {
			_, err := client.RemoveThingFromThingGroup(ctx, &iot.RemoveThingFromThingGroupInput{ThingName: thing, ThingGroupName: group})
			return gone[notFound](err, "the membership")
		},
		func() error {
			_, err := client.DeleteThingGroup(ctx, &iot.DeleteThingGroupInput{ThingGroupName: group})
			return err
		},
	)
}

// Ten at once, as Terraform has it: things, their groups and memberships, and all of it away again.
func together(ctx context.Context, client *iot.Client) error {
	const count, at = 40, 10
	group := aws.String("go-together")
	if _, err := client.CreateThingGroup(ctx, &iot.CreateThingGroupInput{ThingGroupName: group}); err != nil {
		return err
	}
	life := func(number int) error {
		thing := aws.String(fmt.Sprintf("go-together-%02d", number))
		if _, err := client.CreateThing(ctx, &iot.CreateThingInput{ThingName: thing}); err != nil {
			return err
		}
		// Two resources of the same thing, at the same time.
		var pair sync.WaitGroup
		var failed [2]error
		pair.Add(2)
		go func() {
			defer pair.Done()
			_, failed[0] = client.AddThingToThingGroup(ctx, &iot.AddThingToThingGroupInput{ThingName: thing, ThingGroupName: group})
		}()
		go func() {
			defer pair.Done()
			_, failed[1] = client.UpdateThing(ctx, &iot.UpdateThingInput{
				ThingName: thing, AttributePayload: &types.AttributePayload{Attributes: map[string]string{"a": "b"}},
			})
		}()
		pair.Wait()
		for _, err := range failed {
			if err != nil {
				return err
			}
		}
		if in, err := member(ctx, client, thing, group); err != nil || !in {
			return fmt.Errorf("%s is no member: %v", *thing, err)
		}
		_, err := client.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: thing})
		return err
	}
	numbers, failed := make(chan int), make(chan error, count)
	var workers sync.WaitGroup
	for range at {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range numbers {
				if err := life(number); err != nil {
					failed <- fmt.Errorf("%d: %w", number, err)
				}
			}
		}()
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	_, err := client.DeleteThingGroup(ctx, &iot.DeleteThingGroupInput{ThingGroupName: group})
	return err
}

func pages(ctx context.Context, client *iot.Client) error {
	const count = 7
	for number := range count {
		name := aws.String(fmt.Sprintf("go-page-%d", number))
		if _, err := client.CreateThing(ctx, &iot.CreateThingInput{
			ThingName: name, AttributePayload: &types.AttributePayload{Attributes: map[string]string{"pages": "go"}},
		}); err != nil {
			return err
		}
	}
	var found []string
	listed := iot.NewListThingsPaginator(client, &iot.ListThingsInput{
		AttributeName: aws.String("pages"), AttributeValue: aws.String("go"), MaxResults: aws.Int32(2),
	})
	for listed.HasMorePages() {
		page, err := listed.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, thing := range page.Things {
			found = append(found, aws.ToString(thing.ThingName))
		}
	}
	if err := same(len(found), count, "things"); err != nil {
		return err
	}
	for _, name := range found {
		if !strings.HasPrefix(name, "go-page-") {
			return fmt.Errorf("a thing that was not asked for: %s", name)
		}
		if _, err := client.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: aws.String(name)}); err != nil {
			return err
		}
	}
	return nil
}
