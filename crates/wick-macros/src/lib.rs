//! The attributes `#[part]`, which registers a function under its name, so that the judge can ask
//! for it, and `#[piece]`, which marks what a learner writes and the judge reaches by a part.
//!
//! **Invariant:** the function itself is left as it was written; an error in it is reported where
//! it stands.

use proc_macro::{TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::{FnArg, Ident, ItemFn, LitStr, Pat, parse_macro_input, spanned::Spanned as _};

/// Registers a documented function as a part of its exercise.
///
/// In a solution, `#[part(plan = "scores, scale, mask, softmax")]` also carries the plan that the
/// stub's `todo!` shows, or `#[part(bug = "scores_not_scaled")]` the name of the private function
/// whose body the stub shows instead: a broken version, for the learner to mend.
#[proc_macro_attribute]
pub fn part(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let (mut plan, mut bug): (Option<LitStr>, Option<LitStr>) = (None, None);
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("plan") {
            plan = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("bug") {
            bug = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error("only `plan = \"…\"` or `bug = \"…\"` may be given"));
        }
        Ok(())
    });
    parse_macro_input!(attribute with parser);
    let function = parse_macro_input!(item as ItemFn);
    match (parameters(&function), bug.map(|bug| bug.parse::<Ident>()).transpose()) {
        (Ok(parameters), Ok(bug)) => register(&function, &parameters, bug.as_ref()).into(),
        (Err(error), _) | (_, Err(error)) => {
            let error = error.to_compile_error();
            quote!(#function #error).into()
        }
    }
}

/// Marks a function or method that the learner writes, and that the judge reaches by a part only.
///
/// In a solution, `#[piece(plan = "values add, gradients pass")]` also carries the plan that the
/// stub's `todo!` shows. It changes nothing, but keeps a stub from warning of unused parameters.
#[proc_macro_attribute]
pub fn piece(_attribute: TokenStream, item: TokenStream) -> TokenStream {
    if !says_todo(item.clone()) {
        return item;
    }
    let mut quiet: TokenStream = quote!(#[allow(unused_variables)]).into();
    quiet.extend(item);
    quiet
}

fn says_todo(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident.to_string() == "todo",
        TokenTree::Group(group) => says_todo(group.stream()),
        _ => false,
    })
}

fn register(
    function: &ItemFn,
    parameters: &[Ident],
    bug: Option<&Ident>,
) -> proc_macro2::TokenStream {
    let name = &function.sig.ident;
    let text = name.to_string();
    let labels = parameters.iter().map(Ident::to_string);
    let call = format_ident!("__call_{name}");
    // Until a body is written, its parameters are unused; that is no news to the learner.
    let quiet = is_todo(function).then(|| quote!(#[allow(unused_variables)]));
    // The broken version is there for the stub; naming it keeps rustc from calling it unused.
    let bug = bug.map(|bug| quote!(const _: () = { let _ = #bug; };));
    quote! {
        #quiet
        #function
        #bug

        const _: () = {
            fn #call(args: &[::wick::Arg]) -> ::wick::Outputs {
                let mut args = ::wick::Args::new(args);
                let outputs = #name(#(args.take(#labels)?),*);
                args.finish()?;
                ::wick::IntoOutputs::into_outputs(outputs)
            }
            ::wick::inventory::submit! { ::wick::Part { name: #text, call: #call } }
        };
    }
}

/// Names the parameters, or says why the function cannot be a part.
fn parameters(function: &ItemFn) -> syn::Result<Vec<Ident>> {
    let signature = &function.sig;
    if signature.asyncness.is_some() || !signature.generics.params.is_empty() {
        return Err(syn::Error::new(
            signature.span(),
            "a part is a plain function: neither async nor generic",
        ));
    }
    let name = |input: &FnArg| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pattern) => Ok(pattern.ident.clone()),
            other => Err(syn::Error::new(other.span(), "give this parameter a plain name")),
        },
        FnArg::Receiver(receiver) => {
            Err(syn::Error::new(receiver.span(), "a part is a free function, without `self`"))
        }
    };
    signature.inputs.iter().map(name).collect()
}

fn is_todo(function: &ItemFn) -> bool {
    function.block.stmts.iter().any(|statement| match statement {
        syn::Stmt::Macro(statement) => statement.mac.path.is_ident("todo"),
        syn::Stmt::Expr(syn::Expr::Macro(expression), _) => expression.mac.path.is_ident("todo"),
        _ => false,
    })
}
